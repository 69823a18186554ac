"""Work folders: checkpoints survive their machine where the store is remote, whole or not at all."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from reference.full_disk import files_up_to
from storages import Storage, filled, key, read

from pmd_ray.spec.errors import StorageError

KEY = key(3)
TRAINING = ".artifact.training"
"""Where the loop keeps its checkpoints in a work folder."""


def epoch(number: int, *, best: int = 1) -> dict[str, bytes]:
    """What lies in a work folder after an epoch."""
    return {
        f"{TRAINING}/epoch-{number:04d}/model.safetensors": f"weights {number}".encode() * 1000,
        f"{TRAINING}/epoch-{number:04d}/progress.json": b"{}",
        f"{TRAINING}/best-{best:04d}.safetensors": f"weights {best}".encode() * 1000,
        "tensorboard/events.1": b"curve" * number,
    }


def after(folder: Path, number: int, *, best: int = 1) -> None:
    """Train one epoch: the new checkpoint, without the one before."""
    shutil.rmtree(folder / TRAINING, ignore_errors=True)
    filled(folder, epoch(number, best=best))


def test_another_machine_goes_on_from_the_last_epoch(on_s3: Storage) -> None:
    here, there = on_s3.open(), on_s3.open()
    folder = here.work(KEY)
    for number in (1, 2, 3):
        after(folder, number, best=min(number, 2))
        filled(folder / TRAINING, {".best.aside": b"half", ".epoch-0009.12.aside/model.safetensors": b"half"})
        here.save_work(KEY)
    there.load_work(KEY)
    assert read(there.work(KEY)) == epoch(3, best=2)
    assert len(on_s3.names(f"work/{KEY}/")) == len(epoch(3)) + 1  # and the index; older epochs are gone


def test_what_did_not_change_is_not_sent_again(on_s3: Storage) -> None:
    store = on_s3.open()
    after(store.work(KEY), 1)
    store.save_work(KEY)
    assert on_s3.server is not None
    on_s3.server.requests.clear()
    store.save_work(KEY)
    sent = {name for method, name in on_s3.server.requests if method == "PUT"}
    assert sent <= {f"bucket/store/work/{KEY}/index.json"}


def test_what_is_there_already_is_not_brought_again(on_s3: Storage) -> None:
    store = on_s3.open()
    after(store.work(KEY), 1)
    store.save_work(KEY)
    assert on_s3.server is not None
    on_s3.server.requests.clear()
    store.load_work(KEY)
    asked = {name for method, name in on_s3.server.requests if method == "GET" and f"work/{KEY}/" in name}
    assert asked <= {f"bucket/store/work/{KEY}/index.json"}
    after(store.work(KEY), 2)
    store.save_work(KEY)  # what it no longer names still goes
    assert len(on_s3.names(f"work/{KEY}/")) == len(epoch(2)) + 1


def test_killed_before_the_index_the_epoch_before_is_there(on_s3: Storage) -> None:
    store, server = on_s3.open(), on_s3.server
    assert server is not None
    after(store.work(KEY), 1)
    store.save_work(KEY)
    after(store.work(KEY), 2, best=2)
    server.refuse = lambda method, name: 403 if method in ("PUT", "POST") and name.endswith("index.json") else None
    with pytest.raises(StorageError):
        store.save_work(KEY)
    server.refuse = lambda method, name: None
    other = on_s3.open()
    other.load_work(KEY)
    assert read(other.work(KEY)) == epoch(1)
    after(other.work(KEY), 2)
    other.save_work(KEY)
    third = on_s3.open()
    third.load_work(KEY)
    assert read(third.work(KEY)) == epoch(2)


@pytest.mark.parametrize("damage", ["missing", "cut short", "index"])
def test_checkpoints_that_are_not_whole_are_not_used(on_s3: Storage, damage: str) -> None:
    store, server = on_s3.open(), on_s3.server
    assert server is not None
    after(store.work(KEY), 1)
    store.save_work(KEY)
    named = {name.rpartition("/")[2]: name for name in server.names(f"bucket/store/work/{KEY}/")}
    index = named.pop("index.json")
    victim = index if damage == "index" else sorted(named.values())[0]
    data, time = server.objects.pop(victim)
    if damage != "missing":
        server.objects[victim] = data[: len(data) // 2], time
    other = on_s3.open()
    other.load_work(KEY)
    assert read(other.work(KEY)) == {}
    assert list(other.work(KEY).parent.iterdir()) == [other.work(KEY)]
    (warning,) = on_s3.warnings
    assert "starts anew" in warning
    assert KEY in warning


def test_what_this_machine_has_stays(on_s3: Storage) -> None:
    """It was killed after its own checkpoint, and before that was saved."""
    store = on_s3.open()
    after(store.work(KEY), 1)
    store.save_work(KEY)
    after(store.work(KEY), 2, best=2)
    store.load_work(KEY)
    found = read(store.work(KEY))
    assert found.items() >= epoch(2, best=2).items()
    assert found.keys() - epoch(2, best=2).keys() == {
        name for name in epoch(1) if name.startswith(TRAINING)
    }  # as a whole


def test_a_full_disk_leaves_no_half_checkpoint(on_s3: Storage) -> None:
    store = on_s3.open()
    after(store.work(KEY), 1)
    store.save_work(KEY)
    other = on_s3.open()
    with files_up_to(100), pytest.raises(StorageError, match="free some space"):
        other.load_work(KEY)
    assert read(other.work(KEY)) == {}


def test_a_file_that_grows_while_it_is_saved(on_s3: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    from pmd_ray.store import work

    store = on_s3.open()
    folder = filled(store.work(KEY), {"tensorboard/events.1": b"curve"})
    whole, grown = work.entry_of, []

    def grow(name: str, place: Path) -> object:
        entry = whole(name, place)
        if not grown:
            grown.append(name)
            (folder / name).write_bytes(b"curve and more")
        return entry

    monkeypatch.setattr(work, "entry_of", grow)
    store.save_work(KEY)
    other = on_s3.open()
    other.load_work(KEY)
    assert read(other.work(KEY)) == {"tensorboard/events.1": b"curve and more"}
    assert len(on_s3.names(f"work/{KEY}/")) == 2


def test_a_local_store_keeps_checkpoints_in_itself(local: Storage) -> None:
    store = local.open()
    after(store.work(KEY), 1)
    store.save_work(KEY)
    other = local.open()
    other.load_work(KEY)
    assert other.work(KEY) == store.work(KEY) == Path(local.location) / "work" / KEY
    assert read(other.work(KEY)) == epoch(1)


def test_clearing_removes_it_here_and_there(storage: Storage) -> None:
    store = storage.open()
    after(store.work(KEY), 1)
    store.save_work(KEY)
    store.clear_work(KEY)
    store.clear_work(KEY)
    assert storage.names("work/") == []
    store.load_work(KEY)
    assert read(store.work(KEY)) == {}
    store.save_work(KEY)
    assert storage.names("work/") == []
