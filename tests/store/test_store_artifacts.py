"""Artifacts, alike on every storage: published whole, the first wins, read by manifest, broken ones set aside."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from storages import FILES, PROVENANCE, Storage, filled, key, read

from pmd_ray.spec.errors import StorageError
from pmd_ray.store.artifacts import ArtifactBroken
from pmd_ray.store.layout import checked

KEY, OTHER = key(1), key(2)


def test_a_published_folder_is_fetched_as_it_was(storage: Storage) -> None:
    store = storage.open()
    manifest = storage.publish(store, KEY)
    assert not (storage.tmp / "made" / KEY).exists()
    assert {entry.path: entry.size for entry in manifest.files} == {name: len(data) for name, data in FILES.items()}
    assert (manifest.seconds, manifest.provenance) == (3.0, PROVENANCE)
    for reader in (store, storage.open(create=False)):
        assert read(reader.fetch(KEY)) == FILES
        assert reader.fetch(KEY) == reader.fetch(KEY)
        assert reader.has(KEY)
        assert not reader.has(OTHER)
        assert reader.stored([KEY, OTHER]) == {KEY}
        assert reader.keys() == [KEY]
        assert reader.manifest(KEY) == manifest
        assert reader.manifest(OTHER) is None
        assert reader.size(KEY) == sum(map(len, FILES.values()))
        assert reader.open_file(KEY, "result.json") == FILES["result.json"]
        assert reader.verify(KEY) == []


def test_a_local_artifact_lies_in_the_store_and_a_remote_one_on_this_machine(storage: Storage) -> None:
    store = storage.open()
    storage.publish(store, KEY)
    expected = Path(store.location) / "artifacts" / KEY if storage.kind == "folder" else storage.tmp / "machine1"
    assert store.fetch(KEY).is_relative_to(expected)
    assert store.local == (Path(storage.location) if storage.kind == "folder" else None)


def test_the_first_artifact_wins(storage: Storage) -> None:
    store = storage.open()
    first = storage.publish(store, KEY)
    assert storage.publish(storage.open(), KEY, {"result.json": b"later"}) == first
    assert read(storage.open().fetch(KEY)) == FILES
    assert len(storage.names("result.json")) == 1


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda data: data[:100], "model/hr/model.safetensors: 100 bytes instead of 10,240"),
        (lambda data: data + b"x", "model/hr/model.safetensors: 10,241 bytes instead of 10,240"),
        (lambda data: data[:-1] + b"\0", "model/hr/model.safetensors: other bytes than were published (SHA-256)"),
        (lambda data: None, "model/hr/model.safetensors: missing"),
    ],
    ids=["cut short", "longer", "a byte flipped", "missing"],
)
def test_a_broken_file_is_found_set_aside_and_replaced(storage: Storage, change: Any, problem: str) -> None:
    storage.publish(storage.open(), KEY)
    storage.change("model.safetensors", change)
    store = storage.open()
    assert store.verify(KEY) == [problem]
    with pytest.raises(ArtifactBroken, match=r"model/hr/model\.safetensors") as raised:
        store.fetch(KEY)
    assert (raised.value.key, raised.value.problems) == (KEY, [problem])
    where = store.set_aside(KEY, "broken in a test")
    assert f"aside/{KEY}.1" in where
    assert (
        json.loads(Path(where + ".json").read_bytes() if storage.kind == "folder" else b"{}").get(
            "reason", "broken in a test"
        )
        == "broken in a test"
    )
    assert not store.has(KEY)
    assert store.keys() == []
    assert store.set_aside(KEY, "again") == where
    assert storage.names("artifacts/") == []
    storage.publish(store, KEY)
    assert read(storage.open().fetch(KEY)) == FILES
    assert len(storage.names(f"aside/{KEY}.1/")) == len(FILES) + (change(b"") is not None)


def test_each_broken_artifact_has_a_place_of_its_own(storage: Storage) -> None:
    store = storage.open()
    for number in (1, 2, 3):
        storage.publish(store, KEY)
        storage.change("result.json", lambda data: b"")
        assert store.set_aside(KEY, "broken").endswith(f"aside/{KEY}.{number}")


def test_an_artifact_that_is_well_is_not_set_aside(storage: Storage) -> None:
    """Two runs found it broken, and one of them has trained it again already."""
    store = storage.open()
    storage.publish(store, KEY)
    assert store.set_aside(KEY, "broken before") == ""
    assert store.has(KEY)


def test_what_was_never_there_is_broken_to_a_reader_and_nothing_to_set_aside(storage: Storage) -> None:
    store = storage.open()
    assert store.verify(KEY) == ["manifest.json: missing"]
    with pytest.raises(ArtifactBroken, match=r"manifest\.json: missing"):
        store.fetch(KEY)
    with pytest.raises(ArtifactBroken):
        store.open_file(KEY, "result.json")
    assert store.set_aside(KEY, "gone") == ""
    assert store.size(KEY) == 0


@pytest.mark.parametrize("garbage", [b"", b'{"format": 1, "key"', b"[]", b"\xff\xfe", b"null", b'{"format": 1}'])
def test_a_manifest_cut_short_counts_as_not_there(storage: Storage, garbage: bytes) -> None:
    storage.publish(storage.open(), KEY)
    storage.change("manifest.json", lambda data: garbage)
    store = storage.open()
    assert store.manifest(KEY) is None
    assert any("manifest.json" in problem for problem in store.verify(KEY))
    with pytest.raises(ArtifactBroken, match=r"manifest\.json"):
        store.fetch(KEY)
    storage.publish(store, KEY, {"result.json": b"again"})
    assert read(storage.open().fetch(KEY)) == {"result.json": b"again"}


def test_a_manifest_that_is_garbage_can_be_set_aside(storage: Storage) -> None:
    storage.publish(storage.open(), KEY)
    storage.change("manifest.json", lambda data: data[:50])
    store = storage.open()
    assert store.set_aside(KEY, "cut short").endswith(f"{KEY}.1")
    assert not store.has(KEY)
    assert store.verify(KEY) == ["manifest.json: missing"]


def edited(**changes: Any) -> Any:
    return lambda data: json.dumps(json.loads(data) | changes).encode()


@pytest.mark.parametrize("path", ["../outside", "/etc/passwd", "a/../../b", "", ".", "a//b", "a\\b", "./a"])
def test_a_manifest_never_names_a_file_outside(storage: Storage, path: str) -> None:
    storage.publish(storage.open(), KEY)
    entry = {"path": path, "size": 0, "sha256": "0" * 64}
    storage.change("manifest.json", edited(files=[entry]))
    with pytest.raises(ArtifactBroken, match="plain relative path"):
        storage.open().fetch(KEY)


def test_a_manifest_of_another_stage_is_not_believed(storage: Storage) -> None:
    storage.publish(storage.open(), KEY)
    storage.change("manifest.json", edited(key=OTHER))
    assert "another stage" in storage.open().verify(KEY)[0]


def test_what_a_later_version_adds_is_left_unread_but_a_later_format_is_refused(storage: Storage) -> None:
    storage.publish(storage.open(), KEY)
    storage.change("manifest.json", edited(novelty=1))
    assert storage.open().verify(KEY) == []
    storage.change("manifest.json", edited(format=2))
    with pytest.raises(StorageError, match="newer pmd_ray"):
        storage.open().manifest(KEY)


def test_one_small_file_is_checked_too(storage: Storage) -> None:
    store = storage.open()
    storage.publish(store, KEY)
    storage.change("result.json", lambda data: data[:-1] + b"]")
    with pytest.raises(ArtifactBroken, match=r"result\.json: other bytes"):
        store.open_file(KEY, "result.json")
    with pytest.raises(ArtifactBroken, match=r"nope\.json: missing"):
        store.open_file(KEY, "nope.json")


def test_links_and_empty_folders_are_no_artifacts(storage: Storage, tmp_path: Path) -> None:
    store = storage.open()
    folder = filled(tmp_path / "linked")
    (folder / "link").symlink_to(folder / "empty")
    with pytest.raises(ValueError, match="link"):
        store.publish(KEY, folder, provenance=PROVENANCE)
    (tmp_path / "bare").mkdir()
    with pytest.raises(ValueError, match="files must be there"):
        store.publish(KEY, tmp_path / "bare", provenance=PROVENANCE)
    with pytest.raises(FileNotFoundError, match="nothing to publish"):
        store.publish(KEY, tmp_path / "nowhere", provenance=PROVENANCE)
    assert store.keys() == []
    assert storage.names("artifacts/") == []


def test_hashes_are_read_once_per_process_and_sizes_each_time(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.publish(storage.open(), KEY)
    store = storage.open()
    folder = store.fetch(KEY)
    hashed: list[str] = []
    from pmd_ray.store import files

    whole = files.entry_of
    monkeypatch.setattr(files, "entry_of", lambda name, place: hashed.append(name) or whole(name, place))
    store.fetch(KEY)
    assert hashed == []
    (folder / "result.json").write_bytes(b"")
    if storage.kind == "folder":
        with pytest.raises(ArtifactBroken, match=r"result\.json"):
            store.fetch(KEY)
    else:  # a copy is fetched again
        assert read(store.fetch(KEY)) == FILES


def test_a_copy_on_this_machine_is_checked_by_a_new_process(on_s3: Storage, tmp_path: Path) -> None:
    store = on_s3.open(cache=tmp_path / "mine")
    on_s3.publish(store, KEY)
    path = store.fetch(KEY) / "model/hr/model.safetensors"
    path.write_bytes(b"\0" * path.stat().st_size)
    assert read(on_s3.open(cache=tmp_path / "mine").fetch(KEY)) == FILES


def test_what_was_published_here_is_not_downloaded_again(on_s3: Storage) -> None:
    store = on_s3.open()
    on_s3.publish(store, KEY)
    assert on_s3.server is not None
    on_s3.server.requests.clear()
    store.fetch(KEY)
    assert {name for method, name in on_s3.server.requests} == {f"bucket/store/artifacts/{KEY}/manifest.json"}


def test_many_keys_cost_few_requests(on_s3: Storage) -> None:
    store = on_s3.open()
    on_s3.publish(store, KEY)
    assert on_s3.server is not None
    on_s3.server.requests.clear()
    assert store.stored(key(number) for number in range(500)) == {KEY}
    assert len(on_s3.server.requests) <= 4


@given(st.one_of(st.text(max_size=70), st.from_regex(r"[0-9A-Fa-f./\n]{63,65}", fullmatch=True)))
def test_only_64_hexadecimal_digits_are_a_key(text: str) -> None:
    if len(text) == 64 and set(text) <= set("0123456789abcdef"):
        assert checked(text) == text
    else:
        with pytest.raises(ValueError, match="64 hexadecimal digits"):
            checked(text)


def test_every_way_in_checks_the_key(local: Storage) -> None:
    store = local.open()
    for ask in (store.has, store.manifest, store.fetch, store.verify, store.work, store.lease, store.attempts):
        with pytest.raises(ValueError, match="64 hexadecimal digits"):
            ask("../escape")
