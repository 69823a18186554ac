"""A cluster file checked without a cloud: every error at once, warnings apart, the cost per hour at most."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from pmd_ray.spec.chain_file import UniqueKeys
from pmd_ray.spec.cluster_copies import check_copies, fault_of_copy
from pmd_ray.spec.cluster_findings import MOST, PASSWORD, Findings, mapping
from pmd_ray.spec.cluster_keys import check_keys
from pmd_ray.spec.cluster_kuberay import check_manifests
from pmd_ray.spec.cluster_nodes import check_nodes
from pmd_ray.spec.cluster_prices import Cost, cost_of
from pmd_ray.spec.cluster_safety import check_access, check_secrets
from pmd_ray.spec.cluster_start import check_addresses, check_starts
from pmd_ray.spec.cluster_storage import check_placeholders, check_storage
from pmd_ray.spec.errors import SpecError, UserError


class SmallNumbers(UniqueKeys):
    """That loader, but a whole number beyond any use is an error: Python cannot even write those of many digits."""


def _small(loader: SmallNumbers, node: yaml.ScalarNode) -> int:
    made: int = loader.construct_yaml_int(node)
    if abs(made) > MOST:
        raise yaml.constructor.ConstructorError(None, None, f"a number above {MOST:,}", node.start_mark)
    return made


SmallNumbers.add_constructor("tag:yaml.org,2002:int", _small)
LAUNCHER, KUBERAY = "launcher", "kuberay"
V2 = "RAY_UP_enable_autoscaler_v2"
RayRules = Callable[[dict[str, Any]], list[str]]
"""Ray's own validation of a launcher file: what it complains of."""


@dataclass(frozen=True)
class ClusterCheck:
    """What is known of a file."""

    file: str
    kind: str
    """`launcher` (for `ray up`) or `kuberay` (for `kubectl apply`)."""
    errors: tuple[str, ...]
    warnings: tuple[str, ...]
    cost: Cost | None = None

    def json(self) -> dict[str, Any]:
        """One object of plain values."""
        cost = self.cost and {
            "at_most_usd_per_hour": round(self.cost.at_most, 3),
            "with_spot_usd_per_hour": round(self.cost.spot, 3),
            "unknown": list(self.cost.unknown),
            "machines": [
                {"type": name, "machine": machine, "count": count, "usd_per_hour": price}
                for name, machine, count, price in self.cost.machines
            ],
        }
        return {
            "file": self.file,
            "kind": self.kind,
            "ok": not self.errors,
            "errors": list(self.errors),
            "warnings": list(self.warnings),
            "cost": cost,
        }


def check_cluster_file(
    file: Path,
    *,
    needs_gpu: bool | None = None,
    ray_rules: RayRules | None = None,
    environment: Mapping[str, str] | None = None,
) -> ClusterCheck:
    """Check a launcher file, or KubeRay manifests.

    Args:
        file: YAML; for `ray up` one document, for `kubectl` one or more.
        needs_gpu: Whether a plan's stages ask for GPUs; None where no plan is given.
        ray_rules: Asked where nothing is wrong with keys and types, which it would only repeat.
        environment: Of the caller, for what `ray up` reads of it.

    Raises:
        UserError: there is no such file.
        SpecError: it is no YAML, or no mapping.
    """
    written, documents = _read(file)
    found = Findings()
    check_placeholders(written, found)
    made = check_documents(documents, needs_gpu=needs_gpu, ray_rules=ray_rules, environment=environment)
    return replace(made, file=str(file), warnings=(*found.warnings, *made.warnings))


def check_documents(
    documents: Sequence[dict[str, Any]],
    *,
    needs_gpu: bool | None = None,
    ray_rules: RayRules | None = None,
    environment: Mapping[str, str] | None = None,
) -> ClusterCheck:
    """Check what a file holds, one mapping or several; arguments as of `check_cluster_file`."""
    found = Findings()
    check_secrets(documents[0] if len(documents) == 1 else documents, found)
    if any("kind" in document or "apiVersion" in document for document in documents):
        check_manifests(documents, found, needs_gpu=needs_gpu)
        return ClusterCheck("", KUBERAY, tuple(found.errors), tuple(found.warnings))
    first, keys = documents[0], Findings()
    if len(documents) > 1:
        found.error("", f"{len(documents)} documents; a file for ray up has one")
    check_keys(first, keys)
    check_nodes(first, found, needs_gpu=needs_gpu)
    check_access(first, found)
    check_addresses(first, found)
    check_starts(first, found)
    check_storage(first, found)
    check_copies(first, fault_of_copy, found)
    _autoscaler(first, environment or {}, found)
    errors = [*keys.errors, *found.errors]
    if ray_rules is not None and not keys.errors:
        errors += [PASSWORD.sub("", line) for line in ray_rules(first)]
    warnings = (*keys.warnings, *found.warnings)
    return ClusterCheck("", LAUNCHER, tuple(dict.fromkeys(errors)), warnings, cost_of(first))


def _autoscaler(config: Mapping[str, Any], environment: Mapping[str, str], found: Findings) -> None:
    if mapping(config.get("provider")).get("type") == "local" and environment.get(V2) != "0":
        found.warn("provider", f"start it as {V2}=0 ray up FILE: Ray's newer autoscaler never starts workers here")


def _read(file: Path) -> tuple[str, list[dict[str, Any]]]:
    try:
        written = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"no cluster file '{file}'; give a path, such as cluster.yaml or deploy/local.yaml") from None
    except IsADirectoryError:
        raise UserError(f"'{file}' is a folder; give the cluster file in it") from None
    except UnicodeDecodeError as error:
        raise SpecError(file, [f"is not UTF-8 at byte {error.start}; save it as UTF-8"]) from None
    except OSError as error:
        raise SpecError(file, [f"cannot be read: {error.strerror}"]) from None
    try:
        # A subclass of SafeLoader: plain values only.
        documents = [one for one in yaml.load_all(written, Loader=SmallNumbers) if one is not None]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise SpecError(file, [f"{place}{error.problem or error.context}"]) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SpecError(file, [" ".join(str(error).split())]) from None
    if not documents:
        raise SpecError(file, ["is empty; cluster.yaml and deploy/ show how one looks"])
    for document in documents:
        if not isinstance(document, dict):
            raise SpecError(file, [f"must be a mapping of settings, got a {type(document).__name__}"])
    return written, [{str(key): value for key, value in document.items()} for document in documents]
