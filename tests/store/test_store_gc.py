"""Studies and what they keep: gc removes what nothing needs, and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from storages import Storage, filled, key

from pmd_ray.spec.errors import UserError
from pmd_ray.store.gc import Rubbish, RubbishKind, find_rubbish, remove_rubbish
from pmd_ray.store.layout import Unreadable, quoted, unquoted
from pmd_ray.store.store import Store

KEPT, GONE, TRAINED, DROPPED = (key(number) for number in range(4))
DAY = 24 * 3600


def register(store: Store, name: str, *keys: str) -> None:
    store.register(name, json.dumps({"format": 1, "stages": [{"deep": {"keys": list(keys)}}]}))


def found(store: Store) -> set[tuple[str, str]]:
    return {(str(item.kind), item.key) for item in find_rubbish(store)}


def grown(storage: Storage) -> Store:
    """A store with something of everything."""
    store = storage.open()
    register(store, "study", KEPT, TRAINED)
    for each in (KEPT, GONE):
        storage.publish(store, each)
    for each in (KEPT, TRAINED, DROPPED):
        filled(store.work(each), {"epoch-0001/progress.json": b"{}" * 100})
        store.save_work(each)
    storage.write(f"aside/{KEPT}.1/result.json", b"cut")
    storage.write(f"aside/{KEPT}.1.json", b"{}")
    if storage.kind == "folder":
        storage.write(f"incoming/{GONE}.0123/model", b"half")
    else:
        storage.write(f"artifacts/{KEPT}/2020-01-01t000000-0123/model", b"half")
    store.begin(GONE, study="old")
    return store


def aged(storage: Storage) -> None:
    """A day later, by the storage's clock."""
    import os
    import time
    from pathlib import Path

    if storage.server:
        storage.server.age("bucket/store", 2 * DAY)
    elif storage.folder:
        for path in Path(storage.folder).rglob("*"):
            os.utime(path, (time.time() - 2 * DAY,) * 2)


def test_what_nothing_needs_is_found_and_removed(storage: Storage) -> None:
    store = grown(storage)
    aged(storage)
    upload = GONE if storage.kind == "folder" else KEPT
    expected = {("artifact", GONE), ("work", KEPT), ("work", DROPPED), ("aside", KEPT), ("upload", upload)}
    assert found(store) == expected
    rubbish = find_rubbish(store)
    assert all(item.size > 0 and item.why for item in rubbish)
    assert {item.path for item in remove_rubbish(store, rubbish)} == {item.path for item in rubbish}
    assert found(store) == set()
    assert store.keys() == [KEPT]
    assert store.verify(KEPT) == []
    assert len(storage.names(f"work/{TRAINED}")) == (1 if storage.kind == "folder" else 2)
    assert storage.names("aside/") == storage.names("incoming/") == []
    assert len(store.attempts(GONE)) == 1
    assert set(store.studies()) == {"study"}


def test_uploads_and_checkpoints_of_others_are_given_a_day(on_s3: Storage) -> None:
    """Nobody can tell whether their owners are at work."""
    assert found(grown(on_s3)) == {("artifact", GONE), ("work", KEPT), ("aside", KEPT)}


def test_nothing_is_taken_from_under_a_training(local: Storage) -> None:
    store = grown(local)
    with store.lease(GONE), store.lease(DROPPED):
        assert found(store) == {("work", KEPT), ("aside", KEPT)}
    rubbish = find_rubbish(store)
    with local.open().lease(GONE), local.open().lease(DROPPED):  # taken after it was looked at
        assert {item.key for item in remove_rubbish(store, rubbish)} == {KEPT}
    assert store.has(GONE)


def test_a_study_that_began_meanwhile_keeps_what_it_refers_to(storage: Storage) -> None:
    store = grown(storage)
    rubbish = find_rubbish(store)
    register(storage.open(), "new", GONE)
    removed = remove_rubbish(store, rubbish)
    assert GONE not in {item.key for item in removed if item.kind is RubbishKind.ARTIFACT}
    assert store.has(GONE)


def test_a_study_that_began_in_the_last_moment(local: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    store = grown(local)
    rubbish = [item for item in find_rubbish(store) if item.kind is RubbishKind.ARTIFACT]
    held = store.lease

    def late(key: str) -> object:
        register(store, "late", GONE)
        return held(key)

    monkeypatch.setattr(store, "lease", late)
    assert remove_rubbish(store, rubbish) == []
    assert store.has(GONE)


@pytest.mark.parametrize("garbage", [b"", b'{"keys": ["', b"\xff"])
def test_a_study_that_cannot_be_read_stops_gc(storage: Storage, garbage: bytes) -> None:
    store = grown(storage)
    storage.write("studies/broken.json", garbage)
    with pytest.raises(Unreadable, match=r"studies/broken\.json is not readable"):
        find_rubbish(store)
    assert set(store.studies()) == {"study"}
    assert "studies/broken.json" in storage.warnings[0]
    assert store.study("broken") is None and "studies/broken.json" in storage.warnings[-1] and storage.warnings[1:]


def test_what_does_not_exist_any_more_is_no_error(local: Storage) -> None:
    store = grown(local)
    gone = Rubbish(kind=RubbishKind.ARTIFACT, path=f"artifacts/{key(99)}", key=key(99), size=1, why="")
    assert remove_rubbish(store, [gone]) == []
    store.artifacts.remove(key(99))


def test_records_are_kept_by_name_as_they_were_given(storage: Storage) -> None:
    store = storage.open()
    records = {
        name: json.dumps({"name": name}) for name in ("a", "../../etc", "a/b", ".hidden", "..", "日本 %41", "A b")
    }
    for name, record in records.items():
        store.register(name, record)
        store.register(name, record)
    assert storage.open(create=False).studies() == records
    assert {name: store.study(name) for name in records} == records and store.study("another") is None
    assert all(name.count("/") == 1 for name in storage.names() if name.startswith("studies"))


@given(st.text(min_size=1, max_size=30))
def test_any_name_becomes_one_plain_file_name_and_comes_back(name: str) -> None:
    text = quoted(name)
    assert unquoted(text) == name
    assert text.isascii()
    assert not text.startswith(".")
    assert not set(text) & set("/\\\0:*? ")


@pytest.mark.parametrize("name", ["", "x" * 300, "日" * 60])
def test_a_name_that_no_file_can_have_is_refused(local: Storage, name: str) -> None:
    with pytest.raises(UserError, match="study's name"):
        local.open().register(name, "{}")


def test_a_record_is_a_json_object(local: Storage) -> None:
    with pytest.raises(Unreadable):
        local.open().register("s", "[1]")
    assert local.open().studies() == {}


def test_two_processes_register_at_once(local: Storage) -> None:
    """A reader sees one record or the other, whole."""
    store = local.open()
    code = """
import json, sys
from pmd_ray.store.store import Store
store = Store.open(sys.argv[1])
for number in range(40):
    store.register("s", json.dumps({"who": sys.argv[2], "pad": "x" * 20000}))
"""
    pair = [subprocess.Popen([sys.executable, "-c", code, local.location, who]) for who in "ab"]
    seen = set()
    while any(process.poll() is None for process in pair):
        for record in store.studies().values():
            seen.add(json.loads(record)["who"])
    assert [process.returncode for process in pair] == [0, 0]
    assert local.warnings == []
    assert seen <= {"a", "b"}
    assert seen
    assert local.names("studies/") == ["studies/s.json"]
