"""Opening a storage: made, known again, and whatever is wrong with it told at once, in one line."""

from __future__ import annotations

import errno
import os
import socket
import time
from pathlib import Path

import pytest
from small_s3 import SmallS3
from storages import Storage

from pmd_ray.spec.errors import PmdError, StorageError, UserError
from pmd_ray.store import location
from pmd_ray.store.store import Store


def test_a_store_is_made_marked_and_known_again(storage: Storage) -> None:
    storage.open()
    assert storage.names() == ["pmd-store.json"]
    storage.open()
    storage.open(create=False)
    assert storage.names() == ["pmd-store.json"]


def test_a_path_is_absolute_and_may_be_a_uri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for given in ("a/b", Path("a/b"), f"file://{tmp_path}/a/b", "~/a/b"):
        store = Store.open(given)
        assert (store.location, store.local) == (f"{tmp_path}/a/b", tmp_path / "a/b")
    assert Store.open(f"file://{tmp_path}/with%20space").local == tmp_path / "with space"


def test_reading_makes_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no store"):
        Store.open(tmp_path / "none", create=False)
    assert list(tmp_path.iterdir()) == []


def test_hidden_files_are_no_reason_to_refuse(tmp_path: Path) -> None:
    (tmp_path / ".nfs0001").touch()
    (tmp_path / "lost+found").mkdir()
    assert Store.open(tmp_path).keys() == []


@pytest.mark.parametrize(
    ("marker", "rule"),
    [
        (b'{"format": 2}', "newer pmd_ray .format 2; this one knows 1.*upgrade"),
        (b'{"format": 0}', "older pmd_ray .*pmd store migrate"),
        (b'{"form', r"pmd-store\.json is not readable"),
        (b"", r"pmd-store\.json is not readable"),
        (b'{"format": "1"}', "names no format"),
        (b'{"format": true}', "names no format"),
    ],
)
def test_a_store_of_another_format_is_refused(storage: Storage, marker: bytes, rule: str) -> None:
    storage.write("pmd-store.json", marker)
    for create in (True, False):
        with pytest.raises(UserError, match=rule) as raised:
            storage.open(create=create)
        assert raised.value.exit_code == 2
    assert storage.names() == ["pmd-store.json"]


def test_a_folder_that_holds_something_else_is_refused(storage: Storage) -> None:
    storage.write("thesis.tex", b"precious")
    with pytest.raises(UserError, match=r"something else \(thesis.tex\); choose an empty folder"):
        storage.open()
    assert storage.names() == ["thesis.tex"]


def test_a_run_of_distill_says_how_to_bring_it_in(tmp_path: Path) -> None:
    (tmp_path / "chain.yaml").touch()
    with pytest.raises(UserError, match=r"pmd store migrate .* STORE"):
        Store.open(tmp_path)


def test_a_file_is_no_storage_and_nothing_can_lie_under_one(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="is a file"):
        Store.open(tmp_path / "file")
    with pytest.raises(StorageError, match="a file stands where a folder should"):
        Store.open(tmp_path / "file" / "sub" / "store")


@pytest.mark.parametrize("code", [errno.EROFS, errno.ENOSPC, errno.EACCES, errno.EDQUOT])
def test_a_storage_that_cannot_be_written_to_is_told_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """Also one that is a store already: it may have filled up since."""
    Store.open(tmp_path / "old")

    def refuse(handle: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", refuse)
    for name in ("new/sub", "old"):
        with pytest.raises(StorageError, match=os.strerror(code)) as raised:
            Store.open(tmp_path / name)
        assert raised.value.exit_code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
    assert Store.open(tmp_path / "old", create=False).keys() == []


def test_a_closed_port_is_one_error_within_seconds(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start = time.monotonic()
    with pytest.raises(StorageError, match=r"did not answer .*check the address") as raised:
        Store.open(f"s3://key:secret@bucket/x?endpoint_override=127.0.0.1:{port}&scheme=http&region=us-east-1")
    assert time.monotonic() - start < 15
    assert "secret" not in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_server_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(location, "PROBE_TIMEOUT", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(StorageError, match="did not answer"):
            Store.open(f"s3://k:s@bucket/x?endpoint_override=127.0.0.1:{port}&scheme=http&region=us-east-1")


def test_a_library_or_mount_that_hangs_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(location, "TIME_LIMIT", 0.1)
    monkeypatch.setattr(location, "_prepare_folder", lambda *given, **options: time.sleep(2))
    with pytest.raises(StorageError, match=r"did not answer within .* choose another storage"):
        Store.open(tmp_path)


@pytest.mark.parametrize(
    ("status", "way_out"), [(403, "check the credentials"), (404, "make the bucket first"), (507, "choose another")]
)
def test_a_bucket_that_refuses_says_why(s3: SmallS3, status: int, way_out: str) -> None:
    s3.refuse = lambda method, name: status if method in ("PUT", "POST") else None
    with pytest.raises(StorageError, match=way_out):
        Store.open(s3.uri("bucket/store"))


@pytest.mark.parametrize(
    ("address", "rule"),
    [
        ("ftp://host/x", "no storage is known by 'ftp://'; give a folder, or one of file://, s3://"),
        ("s3://", "names no bucket|no address"),
        ("s3://bucket/x?regoin=eu", "regoin"),
        ("s3://key:secret@bucket/x?regoin=eu", "regoin"),
    ],
)
def test_an_address_that_is_none(address: str, rule: str) -> None:
    with pytest.raises(UserError, match=rule) as raised:
        Store.open(address)
    assert "secret" not in str(raised.value)


def test_an_error_of_a_store_never_prints_its_secret_key(s3: SmallS3) -> None:
    store = Store.open(s3.uri("bucket/store"))
    assert "secret" in store.location
    s3.refuse = lambda method, name: 403
    with pytest.raises(PmdError) as raised:
        store.manifest("a" * 64)
    assert "secret" not in str(raised.value)
    assert "secret" not in store.medium.shown


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("s3://KEY:SECRET@bucket/x", "s3://bucket/x"),
        ("s3://KEY:SEC/RE+T@bucket/x?region=eu", "s3://bucket/x?region=eu"),
        ("gs://anonymous@bucket/x", "gs://bucket/x"),
        ("s3://bucket/x@v1", "s3://bucket/x@v1"),
        ("s3://bucket/a:b@c", "s3://bucket/a:b@c"),
        ("pmd ablate x --storage s3://K:S@b/r --mail me@here", "pmd ablate x --storage s3://b/r --mail me@here"),
        ("/runs/me@here", "/runs/me@here"),
    ],
)
def test_an_address_is_printed_without_its_keys(given: str, shown: str) -> None:
    assert location.without_secrets(given) == shown
