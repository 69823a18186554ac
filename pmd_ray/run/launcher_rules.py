"""Ray's own validation of a cluster launcher file, as `ray up` does before it asks for machines; needs no network."""

from __future__ import annotations

import contextlib
import copy
import importlib.util
import io
import logging
from typing import Any


def ray_is_there() -> bool:
    """Whether Ray's launcher can be imported."""
    return importlib.util.find_spec("ray") is not None


def complaints(config: dict[str, Any]) -> list[str]:
    """What `prepare_config` and `validate_config` say of a file: none, or the one that they stop at."""
    import click
    from ray.autoscaler._private.util import prepare_config, validate_config

    told = io.StringIO()
    ray_logger = logging.getLogger("ray")
    level = ray_logger.level
    ray_logger.setLevel(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(told), contextlib.redirect_stderr(told):
            validate_config(prepare_config(copy.deepcopy(config)))
    except click.ClickException as error:
        return [f"file: Ray refuses it: {' '.join((error.format_message() or told.getvalue()).split())}"]
    except Exception as error:  # whatever Ray's reading of a file does: assertions, KeyError, jsonschema's errors
        place = ".".join(str(part) for part in getattr(error, "absolute_path", ()))
        said = getattr(error, "message", None) or f"{type(error).__name__}: {error}"
        return [f"{place or 'file'}: Ray refuses it: {' '.join(said.split())[:300]}"]
    finally:
        ray_logger.setLevel(level)
    return []
