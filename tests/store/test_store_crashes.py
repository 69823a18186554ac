"""Publishing when something goes wrong in the middle of it: killed at each step, two at once, a disk that refuses."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from reference.full_disk import files_up_to
from storages import FILES, PROVENANCE, Storage, filled, key, read

from pmd_ray.spec.errors import StorageError
from pmd_ray.store.gc import RubbishKind, find_rubbish, remove_rubbish

pytestmark = pytest.mark.whole

KEY = key(7)
PUBLISH = """
import os, sys, signal
from pathlib import Path
from pmd_ray.spec.attempt import Provenance
from pmd_ray.store.store import Store
store = Store.open(sys.argv[1], cache=Path(sys.argv[2]))
def publish(key, folder):
    return store.publish(key, Path(folder), provenance=Provenance(package=str(folder)))
def die(*arguments, **options):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def run(code: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PUBLISH + code, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)


def killed(code: str, *arguments: object) -> None:
    process = run(code, *arguments)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL


def test_killed_before_the_rename_nothing_is_published_and_the_folder_is_as_good_as_before(local: Storage) -> None:
    store = local.open()
    folder = filled(store.work(KEY) / "artifact")
    killed("os.rename = die; publish(sys.argv[3], sys.argv[4])", local.location, local.tmp, KEY, folder)
    assert not store.has(KEY)
    assert store.keys() == []
    assert store.publish(KEY, folder, provenance=PROVENANCE).provenance == PROVENANCE
    assert read(local.open().fetch(KEY)) == FILES


def test_killed_while_it_was_copied_from_another_file_system(local: Storage, tmp_path: Path) -> None:
    """The copy under way is never taken for the artifact, and gc finds it."""
    folder = filled(tmp_path / "elsewhere")
    code = """
import errno, shutil
whole = os.rename
def across(source, target, **options):
    if "incoming" not in str(source):
        raise OSError(errno.EXDEV, "another file system")
    return whole(source, target)
os.rename = across
if len(sys.argv) > 5:
    import pmd_ray.store.local_artifacts as place
    place.sync_tree, count = lambda folder: die() if "incoming" in str(folder) else None, 0
publish(sys.argv[3], sys.argv[4])
"""
    killed(code, local.location, local.tmp, KEY, folder, "die")
    store = local.open()
    assert not store.has(KEY)
    assert read(folder) == FILES
    (left,) = find_rubbish(store)
    assert (left.kind, left.key, left.size > 10_000) == (RubbishKind.UPLOAD, KEY, True)
    assert remove_rubbish(store, [left]) == [left]
    assert run(code, local.location, local.tmp, KEY, folder).wait(60) == 0
    assert read(local.open().fetch(KEY)) == FILES
    assert not folder.exists()
    assert local.names("incoming/") == []


def test_killed_between_upload_and_manifest(on_s3: Storage, tmp_path: Path) -> None:
    server = on_s3.server
    assert server is not None
    store = on_s3.open()
    folder = filled(tmp_path / "artifact")
    process = run("input(); publish(sys.argv[3], sys.argv[4])", on_s3.location, tmp_path / "cache", KEY, folder)

    def kill(method: str, name: str) -> int | None:
        if method in ("PUT", "POST") and name.endswith("manifest.json"):
            process.kill()
            return 500
        return None

    server.refuse = kill
    process.communicate("go\n", timeout=60)
    assert process.returncode == -signal.SIGKILL
    server.refuse = lambda method, name: None
    assert len(on_s3.names(f"artifacts/{KEY}")) == len(FILES)
    assert not store.has(KEY)
    assert store.keys() == []
    assert store.stored([KEY]) == set()
    assert find_rubbish(store) == []  # it may be under way still
    store.publish(KEY, folder, provenance=PROVENANCE)
    store.register("s", f'{{"keys": ["{KEY}"]}}')
    assert read(on_s3.open().fetch(KEY)) == FILES
    server.age("bucket/store/artifacts", 3 * 24 * 3600)
    (left,) = find_rubbish(store)
    assert (left.kind, left.size) == (RubbishKind.UPLOAD, sum(map(len, FILES.values())))
    remove_rubbish(store, [left])
    assert len(on_s3.names(f"artifacts/{KEY}")) == len(FILES) + 1
    assert store.verify(KEY) == []


def test_two_processes_publish_the_same_keys_at_once(local: Storage, tmp_path: Path) -> None:
    """One of them wins each key, with all of its files; both say which."""
    local.open()
    keys = [key(number) for number in range(8)]
    for name in "ab":
        for each in keys:
            filled(tmp_path / name / each, {f"file{i}": name.encode() * 1000 for i in range(5)})
    code = """
input()
for key in sys.argv[4:]:
    print(publish(key, Path(sys.argv[3]) / key).provenance.package)
"""
    pair = [run(code, local.location, tmp_path, tmp_path / name, *keys) for name in "ab"]
    for process in pair:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate(timeout=60)[0].split() for process in pair]
    assert [process.returncode for process in pair] == [0, 0]
    assert said[0] == said[1]
    store = local.open()
    for each, winner in zip(keys, said[0], strict=True):
        assert set(read(store.fetch(each)).values()) == {Path(winner).parent.name.encode() * 1000}
        assert not (tmp_path / "a" / each).exists()
        assert not (tmp_path / "b" / each).exists()
    assert len(local.names("artifacts/")) == 6 * len(keys)


def test_another_run_is_quicker_while_this_one_uploads(on_s3: Storage, tmp_path: Path) -> None:
    server = on_s3.server
    assert server is not None
    store, other = on_s3.open(), on_s3.open()
    quick = filled(tmp_path / "quick", {"result.json": b"quick"})

    def overtake(method: str, name: str) -> int | None:
        if method in ("PUT", "POST") and name.endswith("result.json"):
            server.refuse = lambda method, name: None
            other.publish(KEY, quick, provenance=PROVENANCE)
        return None

    server.refuse = overtake
    manifest = on_s3.publish(store, KEY)
    assert [entry.path for entry in manifest.files] == ["result.json"]
    assert read(store.fetch(KEY)) == {"result.json": b"quick"}
    assert len(on_s3.names(f"artifacts/{KEY}")) == 2  # the slower upload is gone


def test_an_upload_that_fails_leaves_nothing_and_keeps_the_folder(on_s3: Storage, tmp_path: Path) -> None:
    server = on_s3.server
    assert server is not None
    store, folder = on_s3.open(), filled(tmp_path / "artifact")
    server.refuse = lambda method, name: 403 if "result.json" in name and method != "HEAD" else None
    with pytest.raises(StorageError, match="credentials"):
        store.publish(KEY, folder, provenance=PROVENANCE)
    server.refuse = lambda method, name: None
    assert on_s3.names("artifacts/") == []
    assert read(folder) == FILES


def test_a_disk_that_takes_only_a_part(local: Storage, tmp_path: Path) -> None:
    store = local.open()
    folder = filled(tmp_path / "artifact")
    with files_up_to(100), pytest.raises(StorageError, match="could not be written") as raised:
        store.publish(KEY, folder, provenance=PROVENANCE)
    assert raised.value.exit_code == 2
    assert not store.has(KEY)
    store.publish(KEY, folder, provenance=PROVENANCE)
    assert read(local.open().fetch(KEY)) == FILES


def test_a_disk_that_is_full_during_a_download(on_s3: Storage) -> None:
    on_s3.publish(on_s3.open(), KEY)
    store = on_s3.open()
    with files_up_to(5000), pytest.raises(StorageError, match="free some space"):
        store.fetch(KEY)
    assert list((on_s3.tmp / "machine2").iterdir()) == []
    assert read(store.fetch(KEY)) == FILES


def refusing(code: int) -> Callable[..., None]:
    def refuse(*arguments: object, **options: object) -> None:
        raise OSError(code, os.strerror(code))

    return refuse


@pytest.mark.parametrize(
    ("code", "way_out"),
    [(errno.ENOSPC, "free some space"), (errno.EROFS, "change its permissions"), (errno.EIO, "the mount is there")],
)
def test_a_rename_that_the_disk_refuses(
    local: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, way_out: str
) -> None:
    store, folder = local.open(), filled(tmp_path / "artifact")
    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", refusing(code))
        with pytest.raises(StorageError, match=f"{os.strerror(code)}.*{way_out}"):
            store.publish(KEY, folder, provenance=PROVENANCE)
    assert read(folder) == FILES
    assert not store.has(KEY)


def test_a_folder_without_a_manifest_under_the_key_gives_way(local: Storage) -> None:
    store = local.open()
    filled(Path(local.location) / "artifacts" / KEY, {"result.json": b"of nobody"})
    assert not store.has(KEY)
    assert store.verify(KEY) == ["manifest.json: missing"]
    local.publish(store, KEY)
    assert read(store.fetch(KEY)) == FILES
    assert local.names(f"aside/{KEY}.1/") == [f"aside/{KEY}.1/result.json"]


def test_a_document_is_replaced_whole_or_not_at_all(local: Storage) -> None:
    store = local.open()
    store.register("s", '{"keys": []}')
    with files_up_to(10), pytest.raises(StorageError):
        store.register("s", '{"keys": ["' + KEY + '"]}')
    assert store.studies() == {"s": '{"keys": []}'}
    assert local.names("studies/") == ["studies/s.json"]
