"""The Python and Ray that shipped cluster files run, in one place, and what an image's tag says of them."""

from __future__ import annotations

import re
from dataclasses import dataclass

RAY = "2.60.0"
"""Ray on every node of the shipped cluster files."""
PYTHON = "3.11"
"""Python on every node of the shipped cluster files."""
RAY_LEAST = "2.52.0"
"""The first Ray with token authentication; pyproject.toml allows older ones, which run on one machine only."""
PYTHON_LEAST, PYTHON_BELOW = (3, 11), (3, 14)
"""As `requires-python` of pyproject.toml says."""
TAG = f"{RAY}-py{PYTHON.replace('.', '')}"
HEAD_IMAGE = f"rayproject/ray:{TAG}"
"""Without CUDA, for a head without a GPU."""
WORKER_IMAGE = f"rayproject/ray:{TAG}-gpu"


@dataclass(frozen=True)
class ImageTag:
    """What a tag such as `2.60.0-py311-gpu` says; None where it says nothing."""

    ray: str | None
    python: tuple[int, int] | None

    @classmethod
    def of(cls, image: str) -> ImageTag:
        """Read an image's name; a digest (`@sha256:...`) says nothing."""
        tag = image.partition("@")[0].rpartition("/")[2].partition(":")[2]
        ray = re.search(r"(?<![\d.])(\d+\.\d+\.\d+)(?![\d.])", tag)
        python = re.search(r"py(\d)\.?(\d{1,2})(?!\d)", tag)
        return cls(ray[1] if ray else None, (int(python[1]), int(python[2])) if python else None)


def wrong_image(image: str) -> str | None:
    """Why an image does not fit this project, or None."""
    tag = ImageTag.of(image)
    wrong = []
    if tag.ray is not None and tag.ray != RAY:
        wrong.append(f"has Ray {tag.ray}, this project runs Ray {RAY} on every node")
    if tag.python is not None and not PYTHON_LEAST <= tag.python < PYTHON_BELOW:
        wrong.append(f"has Python {_dotted(tag.python)}, this project needs {_dotted(PYTHON_LEAST)} to 3.13")
    return " and ".join(wrong) or None


def doubtful_image(image: str) -> str | None:
    """What an image's name leaves open, or None."""
    tag = ImageTag.of(image)
    if tag.ray is None or tag.python is None:
        missing = " and ".join(name for name, known in (("Ray", tag.ray), ("Python", tag.python)) if known is None)
        return f"its tag does not say which {missing} it has; end it with {TAG} so that it can be compared"
    if _dotted(tag.python) != PYTHON:
        return f"has Python {_dotted(tag.python)}, the shipped files {PYTHON}; a driver outside must have the same"
    return None


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))
