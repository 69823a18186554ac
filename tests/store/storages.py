"""Every kind of storage that a store may lie on, and how to look at what it holds behind the store's back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pyarrow.fs import LocalFileSystem, SubTreeFileSystem
from small_s3 import SmallS3

from pmd_ray.spec.attempt import Provenance
from pmd_ray.store.store import Store

FILES = {
    "result.json": b'{"name": "4", "layers": 4}',
    "model/hr/model.safetensors": bytes(range(256)) * 40,
    "model/names with space é.json.gz": b"not packed",
    "empty": b"",
}


def key(number: int) -> str:
    """A stage key."""
    return f"{number:x}".rjust(64, "a")


def filled(folder: Path, files: dict[str, bytes] | None = None) -> Path:
    """A finished folder."""
    for name, data in (FILES if files is None else files).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def read(folder: Path) -> dict[str, bytes]:
    """A folder's files but the manifest."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "manifest.json"
    }


PROVENANCE = Provenance(package="0", host="here")


@dataclass
class Storage:
    """A storage below the store: open stores on it, and look at and change what it holds behind their backs."""

    kind: str
    location: str
    tmp: Path
    server: SmallS3 | None = None
    folder: Path | None = None
    warnings: list[str] = field(default_factory=list)
    machines: int = 0

    def open(self, **options: Any) -> Store:
        """A store as another process would open it, on a machine of its own."""
        self.machines += 1
        options.setdefault("cache", self.tmp / f"machine{self.machines}")
        if self.kind == "pyarrow":
            options["filesystem"] = SubTreeFileSystem(str(self.folder), LocalFileSystem())
        store = Store.open(self.location, **options)
        store.warn = self.warnings.append
        return store

    def publish(self, store: Store, key: str, files: dict[str, bytes] | None = None) -> Any:
        """Publish a folder made for it."""
        return store.publish(key, filled(self.tmp / "made" / key, files), provenance=PROVENANCE, seconds=3.0)

    def names(self, part: str = "") -> list[str]:
        """Files whose path in the store has that part."""
        if self.server:
            found = [name.removeprefix("bucket/store/") for name in self.server.names("bucket/store/")]
        else:
            root = self._root()
            found = [path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()]
        return sorted(name for name in found if part in name)

    def change(self, end: str, change: Callable[[bytes], bytes | None]) -> str:
        """Change the one published file with that end of its path; None removes it."""
        (name,) = [name for name in self.names("artifacts/") if name.endswith(end)]
        if self.server:
            data, _ = self.server.objects[f"bucket/store/{name}"]
            changed = change(data)
            if changed is None:
                del self.server.objects[f"bucket/store/{name}"]
            else:
                self.server.objects[f"bucket/store/{name}"] = changed, datetime.now(UTC)
        else:
            path = self._root() / name
            changed = change(path.read_bytes())
            if changed is None:
                path.unlink()
            else:
                path.write_bytes(changed)
        return name

    def write(self, name: str, data: bytes) -> None:
        """Put a file into the store."""
        if self.server:
            self.server.objects[f"bucket/store/{name}"] = data, datetime.now(UTC)
        else:
            filled(self._root(), {name: data})

    def _root(self) -> Path:
        assert self.folder is not None
        return self.folder if self.kind == "folder" else self.folder / self.location


def s3_storage(server: SmallS3, tmp: Path) -> Storage:
    return Storage(kind="s3", location=server.uri("bucket/store"), tmp=tmp, server=server)
