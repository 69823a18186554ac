"""Artifacts in a bucket: each upload has a folder of its own, and the manifest, written last, says which one counts.

Two runs that publish one key at once do no harm: a manifest always names the files that were uploaded with it.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import socket
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from secrets import token_hex

from pmd_ray.spec.attempt import FileEntry, Manifest, Provenance, utc_now
from pmd_ray.spec.disk import storing
from pmd_ray.spec.errors import StorageError
from pmd_ray.store.artifacts import NO_MANIFEST, ArtifactBroken, manifest_bytes, read_manifest
from pmd_ray.store.bucket import Bucket, Sum
from pmd_ray.store.files import data_problem, missing, plain_files, problems_of, wrong_hash, wrong_size
from pmd_ray.store.layout import ARTIFACTS, ASIDE, FORMAT, KEY, MANIFEST, Unreadable
from pmd_ray.store.medium import AT_ONCE


class RemoteArtifacts:
    """`Artifacts` in one part of a bucket, with copies of what was fetched in a folder of this machine."""

    def __init__(self, medium: Bucket, cache: Path, *, part: str = ARTIFACTS) -> None:
        self._medium = medium
        self._cache = cache
        self._part = part
        self._whole: set[Path] = set()
        """Copies whose files were hashed in this process."""

    def has(self, key: str) -> bool:
        return self._medium.has(self._manifest_path(key))

    def stored(self, keys: Iterable[str]) -> set[str]:
        return self._with_manifest(set(keys) & set(self._folders()))

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
        manifest = self.manifest(key)
        if manifest is None:
            upload = f"{utc_now()[:19].replace(':', '').lower()}-{token_hex(4)}"
            made = Manifest(
                format=FORMAT,
                key=key,
                created=utc_now(),
                files=self._uploaded(folder, key, upload),
                folder=upload,
                seconds=seconds,
                cpu_seconds=cpu_seconds,
                provenance=provenance,
            )
            manifest = self._first(made)
            if manifest == made and not keep:
                self._keep_copy(folder, made)
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
        return manifest

    def fetch(self, key: str) -> Path:
        manifest = self._manifest_or_broken(key)
        place = self._copy_of(manifest)
        if place.is_dir():
            if not problems_of(place, manifest.files, hashes=place not in self._whole):
                self._whole.add(place)
                return place
            self._whole.discard(place)
            with storing(place):
                shutil.rmtree(place)
        self._download(manifest, place)
        self._whole.add(place)
        return place

    def open_file(self, key: str, name: str) -> bytes:
        manifest = self._manifest_or_broken(key)
        entry = next((entry for entry in manifest.files if entry.path == name), None)
        data = self._medium.read(self._file_path(manifest, name)) if entry else None
        problem = f"{name}: missing" if entry is None or data is None else data_problem(entry, data)
        if problem or data is None:
            raise ArtifactBroken(key, self._where(key), [problem or NO_MANIFEST])
        return data

    def verify(self, key: str) -> list[str]:
        try:
            manifest = self._manifest_or_broken(key)
        except ArtifactBroken as error:
            return error.problems
        there = {
            found.name: found.size for found in self._medium.tree(f"{self._part}/{key}/{manifest.folder}".rstrip("/"))
        }
        with ThreadPoolExecutor(AT_ONCE) as pool:
            found = pool.map(lambda entry: self._problem(manifest, entry, there.get(entry.path)), manifest.files)
            return [problem for problem in found if problem]

    def glance(self, key: str) -> list[str]:
        return [] if self.has(key) else [NO_MANIFEST]

    def set_aside(self, key: str, reason: str) -> str:
        if not self.verify(key):
            return ""  # another run has trained it again meanwhile
        asides = {entry.name.removesuffix(".json") for entry in self._medium.entries(ASIDE)}
        last = max((int(name.rpartition(".")[2]) for name in asides if name.startswith(f"{key}.")), default=0)
        manifest = self.manifest(key)
        to = f"{ASIDE}/{key}.{last + 1}"
        # The manifest first: from then on the artifact is not there.
        if not self._medium.copy(self._manifest_path(key), f"{to}/{MANIFEST}"):
            return self._medium.where(f"{ASIDE}/{key}.{last}") if last else ""
        self._medium.remove(self._manifest_path(key))
        if manifest:  # else nothing says which files are its own, and other uploads may be under way
            for entry in manifest.files:
                path = self._file_path(manifest, entry.path)
                self._medium.copy(path, f"{to}/{entry.path}")
                self._medium.remove(path)
        note = {"key": key, "reason": reason, "time": utc_now(), "host": socket.gethostname()}
        self._medium.write(f"{to}.json", json.dumps(note, indent=2).encode())
        return self._medium.where(to)

    def remove(self, key: str) -> None:
        self._medium.remove(self._manifest_path(key))
        self._medium.remove(f"{self._part}/{key}")

    def keys(self) -> list[str]:
        """Every key with a manifest; a folder without one is an upload under way, or what is left of one."""
        return sorted(self._with_manifest(self._folders()))

    def _folders(self) -> list[str]:
        return [e.name for e in self._medium.entries(self._part) if e.folder and KEY.fullmatch(e.name)]

    def _with_manifest(self, keys: Iterable[str]) -> set[str]:
        asked = list(keys)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return {key for key, there in zip(asked, pool.map(self.has, asked), strict=True) if there}

    def _manifest(self, key: str) -> Manifest | None:
        data = self._medium.read(self._manifest_path(key))
        return None if data is None else read_manifest(data, key, self._medium.where(self._manifest_path(key)))

    def _manifest_or_broken(self, key: str) -> Manifest:
        try:
            manifest = self._manifest(key)
        except Unreadable as error:
            raise ArtifactBroken(key, self._where(key), [str(error)]) from None
        if manifest is None:
            raise ArtifactBroken(key, self._where(key), [NO_MANIFEST])
        return manifest

    def _uploaded(self, folder: Path, key: str, upload: str) -> tuple[FileEntry, ...]:
        """Upload a folder's files; what was uploaded goes again if that fails."""
        entries: list[FileEntry] = []
        place = f"{self._part}/{key}/{upload}"
        try:
            for name, path in plain_files(folder):
                size, sha256 = self._medium.upload(path, f"{place}/{name}")
                entries.append(FileEntry(path=name, size=size, sha256=sha256))
            there = {found.name: found.size for found in self._medium.tree(place)}
            wrong = [entry.path for entry in entries if there.get(entry.path) != entry.size]
            if wrong:
                raise StorageError(f"{self._where(key)}: the storage kept {', '.join(wrong)} only in part; try again")
        except BaseException:
            with suppress(StorageError):
                self._medium.remove(place)
            raise
        return tuple(entries)

    def _first(self, made: Manifest) -> Manifest:
        """Write the manifest unless one is there: then that counts, and what was uploaded for this one goes."""
        there = self.manifest(made.key)
        if there is None:
            self._medium.write(self._manifest_path(made.key), manifest_bytes(made))
            return made
        self._medium.remove(f"{self._part}/{made.key}/{made.folder}")
        return there

    def _keep_copy(self, folder: Path, manifest: Manifest) -> None:
        """What was trained here is likely to be read here: the folder becomes the copy that a fetch would make."""
        place = self._copy_of(manifest)
        with suppress(OSError):  # another file system: it is fetched when it is needed
            place.parent.mkdir(parents=True, exist_ok=True)
            (folder / MANIFEST).write_bytes(manifest_bytes(manifest))
            folder.rename(place)

    def _download(self, manifest: Manifest, place: Path) -> None:
        aside = place.with_name(f".{place.name}.{token_hex(4)}.aside")
        try:
            sums = [self._medium.download(self._file_path(manifest, e.path), aside / e.path) for e in manifest.files]
            problems = [_sum_problem(entry, found) for entry, found in zip(manifest.files, sums, strict=True)]
            if any(problems):
                raise ArtifactBroken(manifest.key, self._where(manifest.key), list(filter(None, problems)))
            with storing(place):
                (aside / MANIFEST).write_bytes(manifest_bytes(manifest))
                try:
                    aside.rename(place)
                except OSError:
                    if not place.is_dir():  # else another process was quicker: its copy is as good
                        raise
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    def _problem(self, manifest: Manifest, entry: FileEntry, size: int | None) -> str | None:
        if size is None:
            return missing(entry)
        if size != entry.size:
            return wrong_size(entry, size)
        return _sum_problem(entry, self._medium.sum(self._file_path(manifest, entry.path)))

    def _copy_of(self, manifest: Manifest) -> Path:
        """Where a copy lies on this machine: another manifest of the key has another place."""
        return self._cache / f"{manifest.key}-{hashlib.sha256(manifest_bytes(manifest)).hexdigest()[:12]}"

    def _where(self, key: str) -> str:
        return self._medium.where(f"{self._part}/{key}")

    def _manifest_path(self, key: str) -> str:
        return f"{self._part}/{key}/{MANIFEST}"

    def _file_path(self, manifest: Manifest, name: str) -> str:
        return "/".join(part for part in (self._part, manifest.key, manifest.folder, name) if part)


def _sum_problem(entry: FileEntry, found: Sum) -> str | None:
    if entry.size and not found.size:
        return missing(entry)
    if found.size != entry.size:
        return wrong_size(entry, found.size)
    return None if found.sha256 == entry.sha256 else wrong_hash(entry)
