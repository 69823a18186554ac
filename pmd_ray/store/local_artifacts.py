"""Artifacts in folders of a local or network path: finished aside, then renamed to their key."""

from __future__ import annotations

import errno
import json
import shutil
import socket
from collections.abc import Iterable
from pathlib import Path
from secrets import token_hex

from pmd_ray.spec.attempt import Manifest, Provenance, utc_now
from pmd_ray.spec.disk import storing
from pmd_ray.spec.errors import StorageError
from pmd_ray.store.artifacts import NO_MANIFEST, ArtifactBroken, manifest_bytes, read_manifest
from pmd_ray.store.files import data_problem, entry_of, plain_files, problems_of, sync_tree
from pmd_ray.store.layout import ARTIFACTS, ASIDE, FORMAT, INCOMING, KEY, MANIFEST, Unreadable, read_object
from pmd_ray.store.local_folder import LocalFolder, sync

SMALL = 2**23
"""Bytes of a file that a glance reads."""
TAKEN = (errno.ENOTEMPTY, errno.EEXIST)
"""What a rename onto a folder with files fails with."""


class LocalArtifacts:
    """`Artifacts` on a path, in one part of the store."""

    def __init__(self, medium: LocalFolder, *, part: str = ARTIFACTS) -> None:
        self._medium = medium
        self._part = part
        self._root = medium.root
        self._whole: dict[str, Manifest] = {}
        """Manifests whose files were hashed in this process."""

    def folder(self, key: str) -> Path:
        """Where an artifact lies, or would lie."""
        return self._root / self._part / key

    def has(self, key: str) -> bool:
        """A manifest is written before the rename; one cut short (a disk that lied) is none."""
        path = f"{self._part}/{key}/{MANIFEST}"
        data = self._medium.read(path)
        try:
            return data is not None and read_object(data, path).get("key") == key
        except Unreadable:
            return False

    def stored(self, keys: Iterable[str]) -> set[str]:
        there = set(self.keys())
        return {key for key in set(keys) & there if self.has(key)}

    def manifest(self, key: str) -> Manifest | None:
        try:
            return self._manifest(key)
        except Unreadable:
            return None

    def publish(
        self,
        key: str,
        folder: Path,
        *,
        provenance: Provenance,
        seconds: float = 0.0,
        cpu_seconds: float = 0.0,
        keep: bool = False,
    ) -> Manifest:
        there = self.manifest(key)
        if there is None and keep:
            folder = self._copied(folder, key)
        if there is None:
            files = tuple(entry_of(name, place) for name, place in plain_files(folder))
            made = Manifest(
                format=FORMAT,
                key=key,
                created=utc_now(),
                files=files,
                seconds=seconds,
                cpu_seconds=cpu_seconds,
                provenance=provenance,
            )
            with storing(self.folder(key)):
                (folder / MANIFEST).write_bytes(manifest_bytes(made))
                sync_tree(folder)
                if self._moved_in(folder, key):
                    self._whole[key] = made
                    return made
        elif keep:
            return there
        shutil.rmtree(folder, ignore_errors=True)
        return self._manifest_or_broken(key)

    def fetch(self, key: str) -> Path:
        manifest, place = self._manifest_or_broken(key), self.folder(key)
        fresh = self._whole.get(key) != manifest
        if problems := problems_of(place, manifest.files, hashes=fresh):
            self._whole.pop(key, None)
            raise ArtifactBroken(key, str(place), problems)
        self._whole[key] = manifest
        return place

    def open_file(self, key: str, name: str) -> bytes:
        manifest = self._manifest_or_broken(key)
        entry = next((entry for entry in manifest.files if entry.path == name), None)
        data = self._medium.read(f"{self._part}/{key}/{name}") if entry else None
        problem = f"{name}: missing" if entry is None or data is None else data_problem(entry, data)
        if problem or data is None:
            raise ArtifactBroken(key, str(self.folder(key)), [problem or NO_MANIFEST])
        return data

    def verify(self, key: str) -> list[str]:
        self._whole.pop(key, None)
        try:
            self.fetch(key)
        except ArtifactBroken as error:
            return error.problems
        return []

    def glance(self, key: str) -> list[str]:
        manifest = self.manifest(key)
        if manifest is None:
            return [NO_MANIFEST]
        folder = self.folder(key)
        small = [entry for entry in manifest.files if entry.size <= SMALL]
        return problems_of(folder, manifest.files, hashes=False) or problems_of(folder, small, hashes=True)

    def set_aside(self, key: str, reason: str) -> str:
        if not self.verify(key):
            return ""  # another run has trained it again meanwhile
        to = self._moved_aside(key)
        if to is None:
            return self._last_aside(key)
        note = {"key": key, "reason": reason, "time": utc_now(), "host": socket.gethostname()}
        self._medium.write(f"{ASIDE}/{to.name}.json", json.dumps(note, indent=2).encode())
        return str(to)

    def remove(self, key: str) -> None:
        going = self._root / INCOMING / f"{key}.{token_hex(4)}"
        with storing(self.folder(key)):
            going.parent.mkdir(parents=True, exist_ok=True)
            try:
                self.folder(key).rename(going)
            except FileNotFoundError:
                return
        self._whole.pop(key, None)
        self._medium.remove(f"{INCOMING}/{going.name}")

    def keys(self) -> list[str]:
        """Every key with a folder, broken ones too: a folder is only ever renamed in."""
        return [e.name for e in self._medium.entries(self._part) if e.folder and KEY.fullmatch(e.name)]

    def _manifest(self, key: str) -> Manifest | None:
        path = f"{self._part}/{key}/{MANIFEST}"
        data = self._medium.read(path)
        return None if data is None else read_manifest(data, key, self._medium.where(path))

    def _manifest_or_broken(self, key: str) -> Manifest:
        try:
            manifest = self._manifest(key)
        except Unreadable as error:
            raise ArtifactBroken(key, str(self.folder(key)), [str(error)]) from None
        if manifest is None:
            raise ArtifactBroken(key, str(self.folder(key)), [NO_MANIFEST])
        return manifest

    def _copied(self, folder: Path, key: str) -> Path:
        """A copy on the store's own file system."""
        aside = self._root / INCOMING / f"{key}.{token_hex(4)}"
        with storing(aside):
            try:
                shutil.copytree(folder, aside, symlinks=True)
                sync_tree(aside)
            except BaseException:
                shutil.rmtree(aside, ignore_errors=True)
                raise
        return aside

    def _moved_in(self, folder: Path, key: str) -> bool:
        """Rename a finished folder to its key; False where another artifact got there first."""
        final = self.folder(key)
        final.parent.mkdir(parents=True, exist_ok=True)
        for _ in range(3):
            try:
                folder.rename(final)
            except OSError as error:
                if error.errno == errno.EXDEV:
                    copy = self._copied(folder, key)
                    if moved := self._moved_in(copy, key):
                        shutil.rmtree(folder, ignore_errors=True)
                    else:
                        shutil.rmtree(copy, ignore_errors=True)
                    return moved
                if error.errno not in TAKEN:
                    raise
                if self.manifest(key):
                    return False
                self._moved_aside(key)  # what lies there has no manifest that can be read
            else:
                sync(final.parent)
                return True
        raise StorageError(f"{final} keeps coming back without a manifest; something else writes to this store")

    def _moved_aside(self, key: str) -> Path | None:
        """Rename what lies under a key; None where it is gone already."""
        self._whole.pop(key, None)
        folder = self._root / ASIDE
        with storing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            for number in range(1, 1_000_000):
                to = folder / f"{key}.{number}"
                try:
                    self.folder(key).rename(to)
                except FileNotFoundError:
                    return None
                except OSError as error:
                    if error.errno not in TAKEN:
                        raise
                else:
                    return to
        raise AssertionError("a million broken artifacts of one stage")

    def _last_aside(self, key: str) -> str:
        numbers = [
            int(entry.name.rpartition(".")[2])
            for entry in self._medium.entries(ASIDE)
            if entry.folder and entry.name.startswith(f"{key}.")
        ]
        return str(self._root / ASIDE / f"{key}.{max(numbers)}") if numbers else ""
