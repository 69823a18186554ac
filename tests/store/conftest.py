"""Stores on every kind of storage: a folder, S3 (a small server in this process), and a bare `pyarrow.fs` folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from small_s3 import SmallS3, small_s3
from storages import Storage, s3_storage


@pytest.fixture
def s3() -> Iterator[SmallS3]:
    with small_s3() as server:
        yield server


@pytest.fixture(params=["folder", "s3", "pyarrow"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    match request.param:
        case "folder":
            folder = tmp_path / "store"
            return Storage(kind="folder", location=str(folder), tmp=tmp_path, folder=folder)
        case "s3":
            return s3_storage(request.getfixturevalue("s3"), tmp_path)
        case _:
            folder = tmp_path / "remote"
            folder.mkdir()
            return Storage(kind="pyarrow", location="store", tmp=tmp_path, folder=folder)


@pytest.fixture
def on_s3(s3: SmallS3, tmp_path: Path) -> Storage:
    return s3_storage(s3, tmp_path)


@pytest.fixture
def local(tmp_path: Path) -> Storage:
    folder = tmp_path / "store"
    return Storage(kind="folder", location=str(folder), tmp=tmp_path, folder=folder)
