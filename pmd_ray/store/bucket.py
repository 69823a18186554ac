"""A store's medium behind `pyarrow.fs`: S3, GCS and others, where a file appears whole and nothing can be renamed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from pmd_ray.spec.disk import storing
from pmd_ray.spec.errors import StorageError
from pmd_ray.store.medium import Entry

CHUNK = 4 << 20
"""Bytes that are read at once."""

NETWORK = "check the address and the network, or choose another storage"
WAYS_OUT = {
    "NO_SUCH_BUCKET": "make the bucket first, or choose another storage",
    "ACCESS_DENIED": "check the credentials and what they may do",
    "PermissionError": "check the credentials and what they may do",
    "SIGNATURE": "check the credentials",
    "INVALID_ACCESS_KEY": "check the credentials",
}
"""What an error of a cloud's library says, each with what helps."""


class Sum(NamedTuple):
    """What a file's bytes come to."""

    size: int
    sha256: str


class Bucket:
    """`Medium` on a folder of any `pyarrow.fs.FileSystem`; it need only get, put, copy, list and delete."""

    def __init__(self, filesystem: Any, base: str, *, shown: str) -> None:
        self._files = filesystem
        self._base = base.rstrip("/")
        self.shown = shown

    def where(self, path: str) -> str:
        return f"{self.shown.rstrip('/')}/{path}"

    def read(self, path: str) -> bytes | None:
        with self._asking(path), suppress(FileNotFoundError):
            # A name such as x.gz must not be unpacked on the way: compression=None throughout.
            with self._files.open_input_stream(self._full(path), compression=None) as stream:
                data: bytes = stream.read()
            return data
        return None

    def write(self, path: str, data: bytes) -> None:
        with self._asking(path):
            stream = self._output(path)
            stream.write(data)
            stream.close()

    def has(self, path: str) -> bool:
        """Whether a file is there and not empty: one request."""
        with self._asking(path):
            return (self._files.get_file_info(self._full(path)).size or 0) > 0

    def entries(self, folder: str) -> list[Entry]:
        return self._listed(folder, recursive=False)

    def tree(self, folder: str) -> list[Entry]:
        return [entry for entry in self._listed(folder, recursive=True) if not entry.folder]

    def remove(self, path: str) -> None:
        from pyarrow.fs import FileType

        full = self._full(path)
        with self._asking(path), suppress(FileNotFoundError):
            match self._files.get_file_info(full).type:
                case FileType.Directory:
                    self._files.delete_dir(full)
                case FileType.File:
                    self._files.delete_file(full)

    def copy(self, path: str, to: str) -> bool:
        """Copy a file within the bucket; False where it is not there."""
        from pyarrow.fs import FileType

        source, target = self._full(path), self._full(to)
        with self._asking(path):
            if self._files.get_file_info(source).type != FileType.File:
                return False
            try:
                self._files.copy_file(source, target)
            except FileNotFoundError:  # of file systems with folders: the target's
                self._files.create_dir(target.rpartition("/")[0], recursive=True)
                self._files.copy_file(source, target)
        return True

    def upload(self, source: Path, path: str) -> Sum:
        """Copy a local file here; the sum of what was sent."""
        digest, size = hashlib.sha256(), 0
        with source.open("rb") as file, self._asking(path):
            stream = self._output(path)
            while chunk := file.read(CHUNK):
                stream.write(chunk)
                digest.update(chunk)
                size += len(chunk)
            stream.close()
        return Sum(size, digest.hexdigest())

    def download(self, path: str, target: Path) -> Sum:
        """Copy a file to this machine; the sum of what came (of nothing, where it is not there).

        Raises:
            StorageError: the storage refuses, or the disk.
        """
        digest, size = hashlib.sha256(), 0
        with ExitStack() as stack:
            with storing(target):
                target.parent.mkdir(parents=True, exist_ok=True)
                file = stack.enter_context(target.open("wb"))
            for chunk in self._chunks(path):
                digest.update(chunk)
                size += len(chunk)
                with storing(target):
                    file.write(chunk)
                    file.flush()
        return Sum(size, digest.hexdigest())

    def sum(self, path: str) -> Sum:
        """The sum of a file's bytes, as they are read from the storage."""
        digest, size = hashlib.sha256(), 0
        for chunk in self._chunks(path):
            digest.update(chunk)
            size += len(chunk)
        return Sum(size, digest.hexdigest())

    def _chunks(self, path: str) -> Iterator[bytes]:
        """A file's bytes, piece by piece; nothing where it is not there."""
        with (
            self._asking(path),
            suppress(FileNotFoundError),
            self._files.open_input_stream(self._full(path), compression=None) as stream,
        ):
            while chunk := stream.read(CHUNK):
                yield chunk

    def _listed(self, folder: str, *, recursive: bool) -> list[Entry]:
        from pyarrow.fs import FileSelector, FileType

        full = self._full(folder)
        with self._asking(folder):
            try:
                found = self._files.get_file_info(FileSelector(full, recursive=recursive, allow_not_found=True))
            except FileNotFoundError:  # a bucket that is not there
                return []
        start = len(full) + 1 if full else 0
        return sorted(
            Entry(
                info.path[start:].rstrip("/"),
                info.type == FileType.Directory,
                info.size or 0,
                info.mtime.timestamp() if info.mtime else 0.0,
            )
            for info in found
            if info.type != FileType.NotFound
        )

    def _output(self, path: str) -> Any:
        full = self._full(path)
        try:
            return self._files.open_output_stream(full, compression=None)
        except FileNotFoundError:  # file systems with folders want them made; object stores have none
            self._files.create_dir(full.rpartition("/")[0], recursive=True)
            return self._files.open_output_stream(full, compression=None)

    def _full(self, path: str) -> str:
        return "/".join(part for part in (self._base, path) if part)

    @contextmanager
    def _asking(self, path: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            said = " ".join(str(error).split())
            words = f"{type(error).__name__} {said}"
            way_out = next((help for sign, help in WAYS_OUT.items() if sign in words), NETWORK)
            raise StorageError(
                f"{self.where(path)}: the storage refused or did not answer ({said[:300]}); {way_out}"
            ) from error
