"""`pmd cluster`: exit codes, what goes where, the plan, the token."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from spec.cluster_files import AWS, SHIPPED

from pmd_ray.store.store import Store

if TYPE_CHECKING:
    from cli.conftest import Pmd


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.name)
def test_shipped_files_are_well(pmd: Pmd, file: Path) -> None:
    done = pmd("cluster", "check", file)
    assert done.code == 0, done.err
    assert done.out.splitlines()[-1].startswith(f"{file}: no error, ")
    assert "warning: " in done.err
    assert "error: " not in done.err


def test_the_cost_is_told_with_its_source(pmd: Pmd) -> None:
    out = pmd("cluster", "check", AWS).out
    assert "gpu_4_spot  g6.12xlarge" in out
    assert "at most $" in out
    assert "approximate list prices of" in out


def test_json_is_one_object(pmd: Pmd) -> None:
    done = pmd("cluster", "check", AWS, "--json")
    assert done.code == 0
    assert done.json["ok"] is True
    assert done.json["kind"] == "launcher"
    assert done.json["errors"] == []
    assert done.json["cost"]["at_most_usd_per_hour"] > done.json["cost"]["with_spot_usd_per_hour"] > 0
    assert {one["type"] for one in done.json["cost"]["machines"]} <= {
        "head",
        "gpu_1_spot",
        "gpu_1",
        "gpu_4_spot",
        "gpu_4",
    }


def test_every_error_at_once_and_exit_code_2(pmd: Pmd, tmp_path: Path) -> None:
    written = AWS.read_text(encoding="utf-8")
    file = tmp_path / "cluster.yaml"
    changes = {
        "cluster_name: pmd-ray": "cluster_nam: pmd-ray",
        "region: us-east-1\n": "regin: us-east-1\n",
        "=127.0.0.1": "=0.0.0.0",
    }
    for before, after in changes.items():
        assert before in written
        written = written.replace(before, after)
    file.write_text(written, encoding="utf-8")
    done = pmd("cluster", "check", file)
    assert done.code == 2
    assert done.out == ""
    assert f"error: {file}: 5 errors" in done.err
    assert "did you mean 'cluster_name'?" in done.err
    assert "did you mean 'region'?" in done.err
    assert "listens to the network" in done.err
    as_json = pmd("cluster", "check", file, "--json")
    assert as_json.code == 2
    assert len(as_json.json["errors"]) == 5
    assert as_json.json["ok"] is False
    assert "5 errors" in as_json.err


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("~/pmd_ray/dist: dist", "~/pmd_ray/dist: ~nouser/dist", ""),
        ("cluster_name: pmd-ray", 'cluster_name: "a\\uD800"', ""),
        ("cluster_name: pmd-ray", '"\\uD800": pmd-ray', "\\ud800: unknown key"),
        ("max_workers: 8", "max_workers: -0x" + "f" * 5000, "a number above"),
        ("s3://change-me/", "s3://KEY:hunter2@change-me/", "holds a password in an address"),
    ],
)
def test_no_file_makes_the_verb_fall_over(pmd: Pmd, tmp_path: Path, before: str, after: str, said: str) -> None:
    file = tmp_path / "cluster.yaml"
    written = AWS.read_text(encoding="utf-8")
    assert before in written
    file.write_text(written.replace(before, after, 1), encoding="utf-8")
    done = pmd("cluster", "check", file)
    assert done.code == (2 if said else 0), done.err
    assert said in done.err
    for text in ("Traceback", "bug of pmd_ray", "hunter2"):
        assert text not in done.err


def test_an_address_is_printed_without_its_secret(pmd: Pmd, tmp_path: Path) -> None:
    storage = f"file://KEY:hunter2@{tmp_path}/store"
    shown = storage.replace("KEY:hunter2@", "")
    Store.open(storage)
    for file in ("quickstart", "search_spaces/quickstart"):
        done = pmd("plan", file, "--storage", storage)
        assert shown in done.out
        as_json = pmd("plan", file, "--storage", storage, "--json")
        assert as_json.json["storage"] == shown
        assert "hunter2" not in done.out + done.err + as_json.out + as_json.err
    done = pmd("status", "none", "--storage", storage)
    assert "holds no study" in done.err
    assert "hunter2" not in done.err


def test_rays_own_validation_is_asked(pmd: Pmd, tmp_path: Path) -> None:
    file = tmp_path / "cluster.yaml"
    written = AWS.read_text(encoding="utf-8")
    assert "{GroupName:" in written
    file.write_text(written.replace("{GroupName:", "{GroupNames:"), encoding="utf-8")
    done = pmd("cluster", "check", file)
    assert done.code == 2
    assert "provider.security_group: Ray refuses it: " in done.err
    assert "GroupNames" in done.err


def test_a_plan(pmd: Pmd, tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps({"device": "cpu"}), encoding="utf-8")
    done = pmd("cluster", "check", AWS, "--plan", plan)
    assert done.code == 2
    assert "the plan's stages train on CPUs" in done.err
    plan.write_text(json.dumps({"device": "cuda"}), encoding="utf-8")
    assert pmd("cluster", "check", AWS, "--plan", plan).code == 0
    for text in ("", "[]", "{}", '{"device": 3}', '{"device": "tpu"}', '{"device": []}'):
        plan.write_text(text, encoding="utf-8")
        done = pmd("cluster", "check", AWS, "--plan", plan)
        assert done.code == 2
        assert "give what `pmd plan STUDY --json` printed" in done.err
    assert "cannot be read" in pmd("cluster", "check", AWS, "--plan", tmp_path / "none.json").err


def test_no_such_file(pmd: Pmd, tmp_path: Path) -> None:
    done = pmd("cluster", "check", tmp_path / "none.yaml")
    assert done.code == 2
    assert "no cluster file" in done.err
    assert "did you mean 'check'?" in pmd("cluster", "chek").err


def test_the_token_is_made_once_and_never_shown(pmd: Pmd, tmp_path: Path) -> None:
    file = tmp_path / ".ray" / "auth_token"
    done = pmd("cluster", "token", "--out", file)
    assert done.code == 0
    token = file.read_text(encoding="ascii")
    assert token not in done.out + done.err
    again = pmd("cluster", "token", "--out", file)
    assert again.code == 2
    assert "is there already" in again.err
    assert file.read_text(encoding="ascii") == token


def test_the_token_lies_where_ray_looks(pmd: Pmd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert pmd("cluster", "token").code == 0
    assert (tmp_path / ".ray" / "auth_token").stat().st_mode & 0o777 == 0o600
