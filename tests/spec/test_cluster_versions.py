"""Python and Ray of the cluster files are the project's, everywhere."""

from __future__ import annotations

import importlib.metadata
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from spec.cluster_files import AWS, LOCAL, RAYCLUSTER, ROOT, SHIPPED, broken, put

from pmd_ray.spec import cluster_versions as versions

FILES = (*SHIPPED, ROOT / "deploy" / "Dockerfile")


def _project() -> dict[str, object]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert isinstance(project, dict)
    return project


def test_the_pinned_ray_is_the_installed_one() -> None:
    assert importlib.metadata.version("ray") == versions.RAY


def test_the_project_allows_what_is_pinned() -> None:
    project = _project()
    least, below = re.findall(r"(\d+)\.(\d+)", str(project["requires-python"]))
    assert (tuple(map(int, least)), tuple(map(int, below))) == (versions.PYTHON_LEAST, versions.PYTHON_BELOW)
    assert versions.PYTHON_LEAST <= tuple(map(int, versions.PYTHON.split("."))) < versions.PYTHON_BELOW
    wanted = [text for text in project["dependencies"] if text.startswith("ray[")]  # type: ignore[attr-defined]
    floor = wanted[0].partition(">=")[2]
    assert _order(floor) <= _order(versions.RAY_LEAST) <= _order(versions.RAY)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_file_names_these_versions_and_no_others(file: Path) -> None:
    written = file.read_text(encoding="utf-8")
    told = re.findall(r"(?:ray==|ray:|RAY_VERSION=|rayVersion: \"|pmd-ray:|\]==)(\d+\.\d+\.\d+)", written)
    assert told
    assert set(told) == {versions.RAY}
    pythons = set(re.findall(r"\bpy(\d{3})\b", written)) | {
        one.replace(".", "") for one in re.findall(r"python(3\.\d+)", written)
    }
    assert pythons == {versions.PYTHON.replace(".", "")}


@pytest.mark.parametrize(
    ("image", "ray", "python"),
    [
        (f"rayproject/ray:{versions.TAG}", versions.RAY, (3, 11)),
        (f"rayproject/ray:{versions.TAG}-gpu", versions.RAY, (3, 11)),
        ("host:5000/team/pmd-ray:2.60.0-py312-cu128", "2.60.0", (3, 12)),
        ("rayproject/ray:latest", None, None),
        ("host:5000/ray", None, None),
        ("rayproject/ray:2.60.0@sha256:1234", "2.60.0", None),
        ("rayproject/ray@sha256:1234", None, None),
    ],
)
def test_a_tag_is_read(image: str, ray: str | None, python: tuple[int, int] | None) -> None:
    assert versions.ImageTag.of(image) == versions.ImageTag(ray, python)


def test_what_is_wrong_and_what_is_open() -> None:
    ours = f"rayproject/ray:{versions.TAG}-gpu"
    assert versions.wrong_image(ours) is None
    assert versions.doubtful_image(ours) is None
    wrong = versions.wrong_image("rayproject/ray:2.40.0-py310")
    assert wrong is not None
    assert "Ray 2.40.0" in wrong and "Python 3.10" in wrong
    assert versions.wrong_image("rayproject/ray:latest") is None
    assert "Ray and Python" in str(versions.doubtful_image("rayproject/ray:latest"))
    assert "Python 3.12" in str(versions.doubtful_image(f"x/y:{versions.RAY}-py312"))


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("==2.60.0", "==2.40.0", "setup_commands[1]: takes Ray 2.40.0, this project runs Ray"),
        ("python3.11", "python3.9", "setup_commands[0]: takes Python 3.9, this project needs 3.11 to 3.13"),
        ("python3.11 -m venv", "conda create python=3.14", "setup_commands[0]: takes Python 3.14"),
    ],
)
def test_what_commands_install(before: str, after: str, said: str) -> None:
    def change(document: dict[str, Any]) -> None:
        document["setup_commands"] = [one.replace(before, after) for one in document["setup_commands"]]

    (error,) = broken(LOCAL, change).errors
    assert error.startswith(said)


@pytest.mark.parametrize(
    "text",
    ["pip install ray==2.60.0", "pip install xray==1.0", "python3.12 x", "ls /lib/python3.10/x", "python3 x"],
)
def test_commands_that_fit(text: str) -> None:
    assert versions.wrong_command(text) is None


@pytest.mark.parametrize("word", ['"ray[default]>=2.40"', "ray", "ray[default,tune]", "'ray~=2.60'", "'ray<3,>=2'"])
@pytest.mark.parametrize("call", ["pip install", "pip install -U", "python -m pip install", "uv pip install x"])
def test_a_ray_that_is_not_pinned_is_warned_of(word: str, call: str) -> None:
    def change(document: dict[str, Any]) -> None:
        document["setup_commands"].append(f"{call} {word}")

    done = broken(LOCAL, change)
    assert done.errors == ()
    said = (
        f"setup_commands[4]: installs whatever Ray is there when it runs, and Ray does not mix; say ray=={versions.RAY}"
    )
    assert [line for line in done.warnings if line.startswith(said)], done.warnings


@pytest.mark.parametrize(
    "command",
    [
        "pip install --constraint c.txt 'ray[default]>=2.40'",
        "pip install -c c.txt ray",
        "pip install ray==2.60.0",
        "pip install ray-on-a-stick 'xray>=1'",
        "ray stop",
        "apt-get install -y x",
    ],
)
def test_what_leaves_no_ray_open(command: str) -> None:
    def change(document: dict[str, Any]) -> None:
        document["setup_commands"].append(command)

    done = broken(LOCAL, change)
    assert done.errors == ()
    assert not [line for line in done.warnings if "whatever Ray" in line]


OTHER = f"x/y:{versions.RAY}-py312"


def test_nodes_of_several_pythons_are_an_error() -> None:
    (error,) = broken(AWS, put("docker/worker_image", OTHER)).errors
    assert error == (
        "docker: Ray needs one Python on all nodes, got 3.11 (docker.head_image), 3.12 (docker.worker_image); "
        f"take tags with one pyNNN, such as {versions.TAG}"
    )
    own = put("available_node_types/gpu_1/docker", {"worker_image": OTHER})
    assert "3.12 (available_node_types.gpu_1.docker.worker_image)" in broken(AWS, own).errors[0]
    container = "spec/workerGroupSpecs/0/template/spec/containers/0"
    (error,) = broken(RAYCLUSTER, put(f"{container}/image", OTHER)).errors
    assert error.startswith(
        "RayCluster pmd-ray spec: Ray needs one Python on all nodes, got 3.11 (RayCluster pmd-ray spec"
    )


def test_another_python_on_all_nodes_is_no_error() -> None:
    def change(document: dict[str, Any]) -> None:
        document["docker"] |= {"image": f"x/y:{versions.TAG}", "head_image": OTHER, "worker_image": OTHER}

    assert broken(AWS, change).errors == ()
    assert broken(AWS, put("docker/worker_image", "rayproject/ray:latest")).errors == ()


def _order(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))
