"""Runs of `pmd distill` (format 0) become artifacts: copied into a store, or made one where they lie."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from storages import Storage, filled, key, read

from pmd_ray.spec.errors import UserError
from pmd_ray.spec.results import GradeResult
from pmd_ray.store.gc import find_rubbish
from pmd_ray.store.migrate import format_of, migrate_run, upgrade
from pmd_ray.store.store import Store

TEACHER, STUDENT = key(12), key(6)


def grade(run: Path, name: str, key: str) -> Path:
    """A finished grade as `pmd distill` leaves it."""
    result = GradeResult(
        name=name,
        key=key,
        layers=int(name),
        parameters=1,
        embedding_parameters=1,
        mask_rate=0.0,
        teacher=None,
        valid=None,
        test=None,
        best_epoch=1,
        epochs=1,
        steps=1,
        seconds=60.0,
        cpu_seconds=50.0,
        unmasked_share=0.0,
    )
    card = {"dataset": "umls", "dataset_fingerprint": "f" * 64, "encoder": {"name": "minilm"}}
    files = {
        "result.json": result.model_dump_json().encode(),
        "grade.yaml": b"name: x\n",
        "valid_ranks.parquet": b"PAR1",
        "test_ranks.parquet": b"PAR1",
        "model/pmd.json": json.dumps(card).encode(),
        "model/hr/model.safetensors": name.encode() * 1000,
    }
    return filled(run / name, files)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    run = tmp_path / "run"
    grade(run, "12", TEACHER)
    grade(run, "6", STUDENT)
    results = {
        "dataset": "UMLS",
        "dataset_fingerprint": "e" * 64,
        "encoder": "minilm",
        "versions": {"python": "3.11.7", "pmd-ray": "0.0.9", "torch": "2.6"},
    }
    filled(run, {"results.json": json.dumps(results).encode(), "chain.yaml": b"", "cache/tokens": b"x"})
    filled(run / ".9.training", {"epoch-0001/progress.json": b"{}"})
    return run


def test_finished_grades_are_copied_under_their_keys(run: Path, storage: Storage) -> None:
    store, before = storage.open(), read(run)
    moved = migrate_run(run, store)
    assert [(g.name, g.key, g.state) for g in moved] == [("12", TEACHER, "copied"), ("6", STUDENT, "copied")]
    assert read(run) == before
    assert read(store.fetch(STUDENT)) == read(run / "6")
    manifest = store.manifest(TEACHER)
    assert manifest is not None
    assert (manifest.seconds, manifest.cpu_seconds) == (60.0, 50.0)
    assert manifest.size == moved[0].size
    known = manifest.provenance
    assert (known.package, known.python, known.versions) == ("0.0.9", "3.11.7", {"torch": "2.6"})
    assert (known.dataset, known.dataset_fingerprint, known.encoder) == ("UMLS", "e" * 64, "minilm")
    assert known.commit is None
    assert find_rubbish(store) == []  # the run is registered as a study
    assert store.references().keys() >= {TEACHER, STUDENT}
    assert [g.state for g in migrate_run(run, store)] == ["stored already", "stored already"]


def test_a_chain_that_is_not_finished_gives_what_it_has(run: Path, local: Storage) -> None:
    (run / "results.json").unlink()
    (run / "6" / "test_ranks.parquet").unlink()
    grade(run, "3", "no key")
    filled(run / "2", {"result.json": b'{"name": '})
    store = local.open()
    states = {g.name: g.state for g in migrate_run(run, store)}
    assert states["12"] == "copied"
    assert states["6"] == "unfinished: test_ranks.parquet missing"
    assert "names no stage key" in states["3"]
    assert "result.json is not readable" in states["2"]
    assert store.keys() == [TEACHER]
    manifest = store.manifest(TEACHER)
    assert manifest is not None
    assert (manifest.provenance.package, manifest.provenance.dataset) == ("unknown", "umls")
    assert manifest.provenance.encoder == "minilm"


def test_a_run_becomes_a_store_where_it_lies_and_stays_a_run(run: Path) -> None:
    before = read(run)
    assert format_of(run) == 0
    assert [g.state for g in upgrade(run)] == ["copied", "copied"]
    assert format_of(run) == 1
    store = Store.open(run)
    assert store.keys() == [STUDENT, TEACHER]
    assert store.verify(STUDENT) == []
    assert before.items() <= read(run).items()
    assert [g.state for g in upgrade(run)] == ["stored already", "stored already"]


def test_an_upgrade_that_was_killed_goes_on(run: Path) -> None:
    (run / "pmd-store.json").write_text('{"format": 1}')
    assert [g.state for g in upgrade(run)] == ["copied", "copied"]


def test_a_store_of_this_format_has_nothing_to_do_and_a_newer_one_is_refused(local: Storage) -> None:
    local.publish(local.open(), TEACHER)
    folder = Path(local.location)
    before = local.names()
    assert upgrade(folder) == []
    assert local.names() == before
    local.write("pmd-store.json", b'{"format": 2}')
    with pytest.raises(UserError, match="newer pmd_ray"):
        upgrade(folder)
    local.write("pmd-store.json", b'{"form')
    with pytest.raises(UserError, match="not readable"):
        upgrade(folder)


def test_what_is_neither_is_refused(tmp_path: Path, local: Storage) -> None:
    for make in (upgrade, lambda folder: migrate_run(folder, local.open())):
        with pytest.raises(UserError, match=r"neither a store nor a run|no finished grade"):
            make(tmp_path)
    with pytest.raises(UserError, match="is no folder"):
        upgrade(tmp_path / "none")
    assert not (tmp_path / "pmd-store.json").exists()


def test_a_summary_that_is_garbage_is_named(run: Path, local: Storage) -> None:
    (run / "results.json").write_text('{"versions"')
    with pytest.raises(UserError, match=r"results\.json is not readable"):
        migrate_run(run, local.open())
    (run / "results.json").write_text('{"versions": [1], "dataset": 7}')
    assert [g.state for g in migrate_run(run, local.open())] == ["copied", "copied"]
