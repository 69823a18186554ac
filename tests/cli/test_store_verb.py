"""`pmd store`: each verb on good and on broken stores; with --json, standard output is one object."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pmd_ray.spec.attempt import Provenance
from pmd_ray.store.store import Store

pytestmark = pytest.mark.whole

Pmd = Callable[..., Any]
FIRST, SECOND = "1" * 64, "2" * 64


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A store with two artifacts, and a study that refers to the first."""
    store = Store.open(tmp_path / "store")
    for key, layers in ((FIRST, 6), (SECOND, 3)):
        folder = store.work(key) / "artifact"
        (folder / "model").mkdir(parents=True)
        (folder / "model" / "weights").write_bytes(b"w" * 2000)
        (folder / "result.json").write_text(json.dumps({"name": f"student [bold] {layers}", "layers": layers}))
        store.publish(key, folder, provenance=Provenance(package="0"))
        store.clear_work(key)
    store.register("a study", json.dumps({"keys": [FIRST]}))
    return tmp_path / "store"


def break_weights(place: Path, key: str = SECOND) -> None:
    (place / "artifacts" / key / "model" / "weights").write_bytes(b"w" * 100)


def test_ls_lists_what_is_there(pmd: Pmd, place: Path) -> None:
    done = pmd("store", "ls", place)
    assert done.code == 0
    first = next(line for line in done.out.splitlines() if line.startswith("1" * 12))
    assert "student [bold] 6" in first
    assert "2.0 KB" in first
    assert first.endswith("a study")
    assert f"2 artifacts, 4.1 KB, in {place}" in done.out
    told = pmd("store", "ls", place, "--json").json
    assert [(row["key"], row["layers"], row["studies"]) for row in told["artifacts"]] == [
        (FIRST, 6, ["a study"]),
        (SECOND, 3, []),
    ]
    assert all(row["broken"] is False for row in told["artifacts"])
    assert told["size"] == sum(row["size"] for row in told["artifacts"])


def test_ls_of_a_store_with_garbage_says_which_file_and_goes_on(pmd: Pmd, place: Path) -> None:
    (place / "artifacts" / FIRST / "manifest.json").write_text("{")
    (place / "artifacts" / SECOND / "result.json").write_text("{")
    (place / "studies" / "broken.json").write_text("{")
    done = pmd("store", "ls", place, "--json")
    assert done.code == 0
    assert [row["broken"] for row in done.json["artifacts"]] == [True, True]
    assert "studies/broken.json is not readable" in done.err


def test_ls_of_an_empty_store(pmd: Pmd, tmp_path: Path) -> None:
    Store.open(tmp_path)
    assert "0 artifacts, 0 B" in pmd("store", "ls", tmp_path).out
    assert pmd("store", "ls", tmp_path, "--json").json["artifacts"] == []


@pytest.mark.parametrize("verb", ["ls", "verify", "gc"])
def test_what_is_no_store_is_wrong_input_and_stays_as_it_was(pmd: Pmd, tmp_path: Path, verb: str) -> None:
    (tmp_path / "thesis.tex").touch()
    for where in (tmp_path, tmp_path / "thesis.tex", tmp_path / "thesis.tex" / "sub", "ftp://host/x"):
        done = pmd("store", verb, where)
        assert (done.code, done.out) == (2, "")
        assert len(done.err.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    assert pmd("store", "ls", tmp_path / "none").code == 2


def test_a_newer_store_is_refused(pmd: Pmd, place: Path) -> None:
    (place / "pmd-store.json").write_text('{"format": 7}')
    for arguments in (("ls", place), ("verify", place), ("gc", place), ("migrate", place)):
        done = pmd("store", *arguments)
        assert done.code == 2
        assert "format 7; this one knows 1" in done.err


def test_verify_reads_everything(pmd: Pmd, place: Path) -> None:
    for arguments in ((), ("--all",), ("11",), (FIRST, SECOND)):
        assert pmd("store", "verify", place, *arguments).code == 0
    break_weights(place)
    done = pmd("store", "verify", place)
    assert done.code == 1
    assert "222222222222 model/weights: 100 bytes instead of 2,000" in done.out
    assert "2 artifacts verified, 1 broken" in done.out
    assert "--set-aside" in done.err
    assert pmd("store", "verify", place, "1").code == 0
    told = pmd("store", "verify", place, "--json")
    assert told.code == 1
    assert told.json["verified"] == 2
    assert [(row["key"], row["set_aside"]) for row in told.json["broken"]] == [(SECOND, None)]


def test_verify_sets_aside_what_is_broken(pmd: Pmd, place: Path) -> None:
    break_weights(place)
    done = pmd("store", "verify", place, "--set-aside", "--json")
    assert done.code == 1
    (broken,) = done.json["broken"]
    assert broken["set_aside"] == str(place / "aside" / f"{SECOND}.1")
    assert "100 bytes" in (place / "aside" / f"{SECOND}.1.json").read_text()
    assert pmd("store", "verify", place).code == 0
    assert Store.open(place).keys() == [FIRST]


def test_verify_leaves_what_is_being_trained(pmd: Pmd, place: Path) -> None:
    break_weights(place)
    with Store.open(place).lease(SECOND):
        done = pmd("store", "verify", place, "--set-aside")
    assert done.code == 1
    assert "is being trained by process" in done.err
    assert Store.open(place).keys() == [FIRST, SECOND]


@pytest.mark.parametrize(("key", "rule"), [("3", "no artifact begins with '3'"), ("", "no artifact begins with ''")])
def test_verify_of_an_unknown_key(pmd: Pmd, place: Path, key: str, rule: str) -> None:
    done = pmd("store", "verify", place, key)
    assert done.code == 2
    assert rule in done.err


def test_verify_of_a_key_that_is_not_clear(pmd: Pmd, place: Path) -> None:
    (place / "artifacts" / SECOND).rename(place / "artifacts" / ("1" * 63 + "2"))
    done = pmd("store", "verify", place, "11")
    assert done.code == 2
    assert "2 artifacts begin with '11'; give more digits" in done.err
    assert pmd("store", "verify", place, "11", "--all").code == 2


def test_gc_prints_what_would_go_and_removes_it_when_told(pmd: Pmd, place: Path) -> None:
    done = pmd("store", "gc", place, "--dry-run")
    assert done.code == 0
    assert "no study refers to it" in done.out
    assert "1 thing, 2." in done.out
    assert Store.open(place).keys() == [FIRST, SECOND]
    refused = pmd("store", "gc", place)
    assert refused.code == 2
    assert "--yes" in refused.err
    assert Store.open(place).keys() == [FIRST, SECOND]
    done = pmd("store", "gc", place, "--yes", "--json")
    assert done.code == 0
    assert [(row["kind"], row["key"], row["removed"]) for row in done.json["found"]] == [("artifact", SECOND, True)]
    assert done.json["freed"] > 2000
    assert Store.open(place).keys() == [FIRST]
    assert "nothing to remove" in pmd("store", "gc", place, "--yes").out


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("answer", "left"), [("y\n", [FIRST]), ("n\n", [FIRST, SECOND]), ("\n", [FIRST, SECOND])])
def test_gc_asks_at_a_terminal(
    pmd: Pmd, place: Path, monkeypatch: pytest.MonkeyPatch, answer: str, left: list[str]
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    assert pmd("store", "gc", place).code == 0
    assert Store.open(place).keys() == left


def test_gc_stops_at_a_study_that_cannot_be_read(pmd: Pmd, place: Path) -> None:
    (place / "studies" / "broken.json").write_text("{")
    done = pmd("store", "gc", place, "--yes")
    assert done.code == 2
    assert "studies/broken.json is not readable" in done.err
    assert Store.open(place).keys() == [FIRST, SECOND]


def test_migrate_brings_a_trained_chain_into_a_store(pmd: Pmd, tiny_run: Any, tmp_path: Path) -> None:
    done = pmd("store", "migrate", tiny_run.out, tmp_path / "store", "--json")
    assert done.code == 0
    assert {grade["state"] for grade in done.json["grades"]} == {"copied"}
    results = json.loads((tiny_run.out / "results.json").read_text())
    assert {grade["key"] for grade in done.json["grades"]} == {grade["key"] for grade in results["grades"]}
    assert pmd("store", "verify", tmp_path / "store").code == 0
    listed = pmd("store", "ls", tmp_path / "store", "--json").json["artifacts"]
    assert {(row["grade"], row["layers"]) for row in listed} == {(g["name"], g["layers"]) for g in results["grades"]}
    assert pmd("store", "gc", tmp_path / "store", "--dry-run", "--json").json["found"] == []
    assert pmd("store", "migrate", tiny_run.out, tmp_path / "store").out.count("stored already") == 4


def test_a_migrated_model_can_be_used(pmd: Pmd, tiny_run: Any, tmp_path: Path) -> None:
    pmd("store", "migrate", tiny_run.out, tmp_path / "store")
    store = Store.open(tmp_path / "store")
    key = next(key for key in store.keys() if json.loads(store.open_file(key, "result.json"))["name"] == "1")  # noqa: SIM118
    done = pmd("evaluate", store.fetch(key), "--split", "valid", "--json")
    assert done.code == 0, done.err


def test_migrate_of_a_store_that_is_up_to_date_and_of_nothing(pmd: Pmd, place: Path, tmp_path: Path) -> None:
    assert "up to date; nothing to do" in pmd("store", "migrate", place).out
    assert pmd("store", "migrate", place, "--json").json["grades"] == []
    (tmp_path / "empty").mkdir()
    for source in (tmp_path / "empty", tmp_path / "none"):
        for arguments in ((source,), (source, tmp_path / "new")):
            assert pmd("store", "migrate", *arguments).code == 2
    assert not (tmp_path / "new").exists()


def test_help_names_every_verb(pmd: Pmd) -> None:
    text = pmd("store", "--help").out
    assert all(verb in text for verb in ("ls", "verify", "gc", "migrate"))
    assert "did you mean 'verify'" in pmd("store", "verfy", "x").err
