"""The Python and Ray that shipped cluster files run, and what images and commands say of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
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
INSTALLED = re.compile(r"(?<![\w.-])ray(?:\[[^\]]*\])?\s*==\s*(\d[\w.]*)")
"""Ray as pip installs it."""
LOOSE = re.compile(r"ray(?:\[[^\]]*\])?(?:\s*(?:[<>~!]|===).*)?")
"""Ray as pip is asked for it without its one version."""
CONSTRAINED = re.compile(r"--constraint|-c")
CALLED = re.compile(r"(?<![\w.-])(?<!lib/)python=*(\d)\.(\d{1,2})(?![\w.])")
"""Python as a program, or as conda installs it."""


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
    return _wrong("has", [tag.ray] if tag.ray else [], [tag.python] if tag.python else [])


def wrong_command(text: str) -> str | None:
    """Why what a command installs or calls does not fit this project, or None."""
    pythons = [(int(major), int(minor)) for major, minor in CALLED.findall(text)]
    return _wrong("takes", INSTALLED.findall(text), pythons)


def doubtful_command(words: Sequence[str]) -> str | None:
    """What a command leaves open of the Ray that it installs, or None; constraints close it."""
    if "install" not in words or any(CONSTRAINED.match(word) for word in words):
        return None
    if any(LOOSE.fullmatch(word) for word in words):
        return f"installs whatever Ray is there when it runs, and Ray does not mix; say ray=={RAY}"
    return None


def mixed_pythons(images: Mapping[str, str]) -> str | None:
    """Why images of one cluster, by their places, do not go together, or None: workers need their driver's Python."""
    told = {place: tag.python for place, image in images.items() if (tag := ImageTag.of(image)).python}
    if len(set(told.values())) < 2:
        return None
    given = ", ".join(f"{_dotted(python)} ({place})" for place, python in told.items() if python)
    return f"Ray needs one Python on all nodes, got {given}; take tags with one pyNNN, such as {TAG}"


def _wrong(verb: str, rays: list[str], pythons: list[tuple[int, int]]) -> str | None:
    wrong = [f"{verb} Ray {ray}, this project runs Ray {RAY} on every node" for ray in rays if ray != RAY]
    wrong += [
        f"{verb} Python {_dotted(python)}, this project needs {_dotted(PYTHON_LEAST)} to 3.13"
        for python in pythons
        if not PYTHON_LEAST <= python < PYTHON_BELOW
    ]
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
