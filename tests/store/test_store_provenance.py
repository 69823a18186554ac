"""Provenance: what is known of code, machine, data and command, and nothing that is not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pmd_ray import __version__
from pmd_ray.spec.attempt import Provenance
from pmd_ray.store import provenance
from pmd_ray.store.provenance import checkout, gather


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), "-c", "user.name=t", "-c", "user.email=t@t", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package in a checkout of its own."""
    package = tmp_path / "repo" / "package"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    git(tmp_path / "repo", "init", "-q")
    git(tmp_path / "repo", "add", ".")
    git(tmp_path / "repo", "commit", "-q", "-m", "first")
    return package


def test_commit_and_whether_the_package_differs_from_it(package: Path) -> None:
    commit = git(package, "rev-parse", "HEAD")
    assert checkout(package) == (commit, False)
    (package.parent / "notes.txt").touch()  # beside the package: changes no number
    assert checkout(package) == (commit, False)
    (package / "new.py").touch()
    assert checkout(package) == (commit, True)
    (package / "new.py").unlink()
    (package / "__init__.py").write_text("x = 1")
    assert checkout(package) == (commit, True)


def test_an_installed_package_has_no_commit_even_inside_a_repository(package: Path, tmp_path: Path) -> None:
    installed = package.parent / ".venv" / "package"
    installed.mkdir(parents=True)
    (installed / "__init__.py").touch()
    (package.parent / ".gitignore").write_text(".venv\n")
    assert checkout(installed) == (None, None)
    assert checkout(tmp_path) == (None, None)


def test_without_git_nothing_is_known_and_nothing_fails(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert checkout(package) == (None, None)


def test_a_program_that_hangs_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "TIME_LIMIT", 0.1)
    assert provenance._asked("sleep", "5") is None


def test_what_is_gathered(monkeypatch: pytest.MonkeyPatch) -> None:
    found = gather(dataset=("umls", "f1"), encoder=("minilm", "f2"), command=["pmd", "ablate", "a b.yaml"], threads=2)
    assert (found.package, found.host) == (__version__, os.uname().nodename)
    assert (found.dataset, found.dataset_fingerprint) == ("umls", "f1")
    assert (found.encoder, found.encoder_fingerprint) == ("minilm", "f2")
    assert (found.command, found.threads) == ("pmd ablate 'a b.yaml'", 2)
    assert found.versions.keys() >= {"torch", "ray", "pydantic"}
    assert found.memory_bytes is not None
    assert found.memory_bytes > 1 << 28
    assert found.cores is not None
    assert found.cores >= 1
    assert found.cpu
    assert Provenance.model_validate_json(found.model_dump_json()) == found
    monkeypatch.setattr(sys, "argv", ["pmd", "status"])
    assert gather().command == "pmd status"


def test_the_machine_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    first = gather(command="one")

    def refuse(*command: str) -> None:
        raise AssertionError(command)

    monkeypatch.setattr(provenance, "_asked", refuse)
    assert gather(command="two") == first.model_copy(update={"command": "two"})


def test_the_keys_of_a_storage_are_not_kept() -> None:
    told = gather(command="pmd ablate x --storage s3://KEY:SECRET@bucket/runs --home me@here").command
    assert told == "pmd ablate x --storage s3://bucket/runs --home me@here"
