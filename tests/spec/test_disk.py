"""A disk that refuses is known whichever library met it; whatever keeps a file from being written is one error."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from safetensors import SafetensorError

from pmd_ray.spec.disk import WAYS_OUT, Refusal, new_folders, refusal, storage_failure, storing
from pmd_ray.spec.errors import EncoderError, StorageError, UserError

FULL = os.strerror(errno.ENOSPC)
FULL_DISKS = [
    OSError(errno.ENOSPC, FULL, "/x"),
    OSError(errno.EFBIG, os.strerror(errno.EFBIG)),
    OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)),
    ValueError(f"Error while serializing: I/O error: {FULL} (os error 28)"),
    SafetensorError(f"Error while serializing: I/O error: {FULL} (os error 28)"),
    RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 285376 vs 285268"),
    RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed"),
]
OTHERS = [
    RuntimeError("shape mismatch"),
    RuntimeError("[enforce fail at inline_container.cc:197] . PytorchStreamReader failed reading zip archive"),
    FileNotFoundError(errno.ENOENT, "No such file or directory", "/x"),
    KeyError("x"),
    UserError("rule"),
    EncoderError("'x' cannot be loaded: Permission denied (os error 13)"),
    SafetensorError("no header"),
]


@pytest.mark.parametrize("error", FULL_DISKS, ids=str)
def test_a_full_disk_is_known_whatever_library_met_it(error: Exception) -> None:
    found = refusal(error)
    assert found is not None
    assert found.way_out == WAYS_OUT[errno.ENOSPC]
    assert found.reason == "the disk took only a part of a file (full, or a quota)" or found.reason in str(error)


@pytest.mark.parametrize("error", OTHERS, ids=str)
def test_other_failures_are_not_the_disks(error: Exception) -> None:
    assert refusal(error) is None
    assert storage_failure(error) is None


@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE, errno.ENXIO, errno.EHOSTDOWN])
def test_a_disk_or_mount_that_has_gone_is_no_bug(code: int) -> None:
    said = str(storage_failure(OSError(code, "", "/srv/x")))
    assert said.startswith(f"{os.strerror(code)}: /srv/x; look whether") and said.endswith("is whole")


def test_the_file_is_named_where_the_error_names_it() -> None:
    assert str(storage_failure(OSError(errno.EROFS, "", "/x/y"))).startswith("Read-only file system: /x/y; choose")
    assert str(storage_failure(OSError(errno.EROFS, "", b"/x/\xff"))).startswith("Read-only file system: /x/\udcff;")
    assert str(storage_failure(OSError(errno.EROFS, ""))).startswith("Read-only file system; choose")


@pytest.mark.parametrize(
    "error",
    [
        *FULL_DISKS,
        PermissionError(errno.EACCES, "Permission denied"),
        FileNotFoundError(errno.ENOENT, "No such file or directory"),  # what a folder of /proc says to a new one
        OSError("an OSError without a number"),
        SafetensorError("I/O error: Input/output error (os error 5)"),
        StorageError("x could not be written: Disk quota exceeded"),
    ],
    ids=str,
)
def test_every_way_to_say_that_a_file_cannot_be_written(error: Exception) -> None:
    with pytest.raises(StorageError) as raised, storing(Path("the/file")):
        raise error
    message = str(raised.value)
    assert message.startswith("the/file could not be written: ")
    assert message.endswith("; the same command goes on where it stopped")
    assert "\n" not in message and raised.value.exit_code == 2
    assert raised.value.__cause__ is error


@pytest.mark.parametrize(
    "error", [RuntimeError("size mismatch"), SafetensorError("no header"), ValueError("x"), UserError("(os error 28)")]
)
def test_what_is_no_failure_to_write_passes(error: Exception) -> None:
    with pytest.raises(type(error)) as raised, storing(Path("file")):
        raise error
    assert raised.value is error


def test_the_outer_of_two_names_the_place() -> None:
    with pytest.raises(StorageError) as raised, storing(Path("grade")), storing(Path(".grade.aside/ranks")):
        raise OSError(errno.ENOSPC, FULL)
    assert str(raised.value).startswith(f"grade could not be written: {FULL}; free some space")


def test_new_folders_go_again_where_what_follows_fails(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), new_folders(tmp_path / "run" / "cache"):
        assert (tmp_path / "run" / "cache").is_dir()
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_folders_that_hold_something_or_were_there_stay(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(ValueError, match="late"), new_folders(tmp_path / "there" / "run" / "cache"):
        (tmp_path / "there" / "run" / "of another").touch()
        raise ValueError("late")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["of another", "run", "there"]
    with new_folders(tmp_path / "there" / "more"):
        pass
    assert (tmp_path / "there" / "more").is_dir()


def test_a_refusal_says_why_and_what_helps() -> None:
    assert refusal(OSError(errno.ENAMETOOLONG, "")) == Refusal("File name too long", "choose a shorter path")
