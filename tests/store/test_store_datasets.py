"""Graphs in a store: published whole under their fingerprint, checked when fetched, kept while a study reads them."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from storages import Storage, filled, key, read
from test_store_gc import aged

from pmd_ray.spec.errors import UserError
from pmd_ray.store.bucket import Bucket, Sum
from pmd_ray.store.gc import RubbishKind, find_rubbish, remove_rubbish
from pmd_ray.store.store import Store

GRAPH = {"entities.tsv": b"a\tAda\t\nb\tByron\t\n", "relations.tsv": b"knows\tknows\n", "train.tsv": b"a\tknows\tb\n"}
HERE, OTHER = key(1), key(2)


def pushed(storage: Storage, store: Store, fingerprint: str = HERE, name: str = "letters", **options: bool) -> bool:
    made = filled(storage.tmp / f"made-{fingerprint[-3:]}-{storage.machines}", GRAPH)
    return store.datasets.publish(made, name=name, fingerprint=fingerprint, **options)


def of_graphs(store: Store) -> set[str]:
    return {item.key for item in find_rubbish(store) if item.kind is RubbishKind.GRAPH}


def test_a_graph_is_found_on_another_machine_by_its_first_digits(storage: Storage) -> None:
    assert pushed(storage, storage.open())
    there = storage.open().datasets
    place = there.fetch(HERE[:12] + HERE[12:40])
    assert read(place) == GRAPH
    assert place.parent == there.folder and place.name.startswith(HERE)
    (found,) = there.all()
    assert (found.name, found.fingerprint, found.source) == ("letters", HERE, f"letters@{HERE[:12]}")
    assert found.size == sum(map(len, GRAPH.values()))


def test_the_first_one_wins(storage: Storage) -> None:
    assert pushed(storage, storage.open())
    before = storage.names("datasets/")
    assert not pushed(storage, storage.open(), name="second")
    assert not pushed(storage, storage.open(), name="third", thorough=True)
    assert storage.names("datasets/") == before
    assert [graph.name for graph in storage.open().datasets.all()] == ["letters"]


def test_digits_of_no_graph_name_those_that_are_there(storage: Storage) -> None:
    store = storage.open()
    with pytest.raises(UserError, match=r"no graph with the fingerprint 'ffffffffffff' \(there: none\).*pmd data push"):
        store.datasets.fetch("f" * 12)
    pushed(storage, store)
    with pytest.raises(UserError, match=rf"there: letters@{HERE[:12]}"):
        store.datasets.fetch("f" * 12)
    pushed(storage, store, OTHER)
    with pytest.raises(UserError, match=r"2 graphs in .* begin with 'aaaaaaaaaaaa'; give more digits"):
        store.datasets.fetch("a" * 12)
    assert store.datasets.fetch(OTHER).name.startswith(OTHER)


def test_a_fingerprint_is_whole_where_a_graph_is_published(local: Storage) -> None:
    with pytest.raises(ValueError, match="64 hexadecimal digits"):
        pushed(local, local.open(), "abc")


@pytest.mark.parametrize("end", ["train.tsv", "manifest.json"])
def test_what_is_not_as_it_was_published_is_not_read(storage: Storage, end: str) -> None:
    pushed(storage, storage.open())
    (name,) = [name for name in storage.names("datasets/") if name.endswith(end)]
    storage.write(name, b"a\tknows\tc\n")
    with pytest.raises(UserError, match=r"is broken: .*publish it again with: pmd data push GRAPH --storage"):
        storage.open().datasets.fetch(HERE)
    assert pushed(storage, storage.open(), thorough=True)
    assert read(storage.open().datasets.fetch(HERE)) == GRAPH


def test_a_copy_that_was_cut_short_is_made_again(on_s3: Storage) -> None:
    pushed(on_s3, on_s3.open())
    machine = on_s3.tmp / "one"
    place = on_s3.open(cache=machine).datasets.fetch(HERE)
    (place / "train.tsv").write_bytes(b"a\tkno")
    assert read(on_s3.open(cache=machine).datasets.fetch(HERE)) == GRAPH


def test_a_machine_copies_a_graph_once(on_s3: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    pushed(on_s3, on_s3.open())
    copied: list[str] = []
    download = Bucket.download

    def counted(bucket: Bucket, path: str, target: Path) -> Sum:
        copied.append(path)
        return download(bucket, path, target)

    monkeypatch.setattr(Bucket, "download", counted)
    stores = [on_s3.open(cache=on_s3.tmp / "one") for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        places = set(pool.map(lambda store: store.datasets.fetch(HERE), stores))
    assert len(places) == 1
    assert len(copied) == len(GRAPH)


def test_gc_keeps_what_a_study_reads_and_what_is_new(storage: Storage) -> None:
    store = storage.open()
    pushed(storage, store, HERE)
    pushed(storage, store, OTHER)
    store.register("study", json.dumps({"dataset": {"fingerprint": HERE}}))
    assert of_graphs(store) == set()
    aged(storage)
    assert of_graphs(store) == {OTHER}
    remove_rubbish(store, find_rubbish(store))
    assert store.datasets.keys() == [HERE]
    assert read(storage.open().datasets.fetch(HERE)) == GRAPH


def test_an_upload_that_was_never_finished_goes(on_s3: Storage) -> None:
    store = on_s3.open()
    pushed(on_s3, store)
    store.register("study", json.dumps({"dataset": {"fingerprint": HERE}}))
    on_s3.write(f"datasets/{HERE}/2020-01-01t000000-0123/entities.tsv", b"half")
    aged(on_s3)
    (item,) = find_rubbish(store)
    assert item.kind is RubbishKind.UPLOAD
    remove_rubbish(store, [item])
    assert read(on_s3.open().datasets.fetch(HERE)) == GRAPH
