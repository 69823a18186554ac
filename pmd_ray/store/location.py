"""Opens a storage: a folder or an address of `pyarrow.fs`, checked before anything is trained.

Whatever is wrong with it is told within seconds: libraries of clouds would try for minutes.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from pathlib import Path
from secrets import token_hex
from typing import Any, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

from pmd_ray.spec.disk import new_folders, storing
from pmd_ray.spec.errors import StorageError, UserError
from pmd_ray.store.bucket import Bucket
from pmd_ray.store.layout import FORMAT, MARKER, Unreadable, read_object
from pmd_ray.store.local_folder import LocalFolder
from pmd_ray.store.medium import Medium, reading

SCHEMES = ("s3", "gs", "gcs", "abfs", "abfss", "hdfs", "viewfs")
TIME_LIMIT = 20.0
"""Seconds that a storage has for its first answers."""
PROBE_TIMEOUT = 4.0
"""Seconds without a byte after which the first request to S3 is given up; it is made twice."""
WORK_TIMEOUT = 60.0
"""The same for later requests: a large upload may take its time to be put together."""
SECRETS = re.compile(r"(?<=://)(?:[^/@:\s]*:[^@\s]*|[^/@:\s]*)@")
"""A secret key may hold slashes, where it should have been quoted."""
T = TypeVar("T")


def local_path(location: str | Path) -> Path | None:
    """The absolute path of a local storage, or None for one elsewhere."""
    if isinstance(location, Path) or "://" not in location:
        return Path(location).expanduser().absolute()
    parts = urlsplit(location)
    return Path(unquote(parts.path)).absolute() if parts.scheme == "file" else None


def without_secrets(text: str) -> str:
    """An address, or a command line with addresses, as it may be printed: without `KEY:SECRET@`."""
    return SECRETS.sub("", text)


def open_medium(location: str | Path, *, create: bool, filesystem: Any = None) -> LocalFolder | Bucket:
    """The storage at a location, which is a store of this format (afterwards, with `create`).

    Args:
        location: A folder, or an address such as `s3://bucket/folder`; with `filesystem`, a path in that.
        create: Make a store where there is none, and see that it can be written to.
        filesystem: A `pyarrow.fs.FileSystem`.

    Raises:
        UserError: the location holds something else, no store, or one of another format.
        StorageError: read-only, full, or no answer.
    """
    path = None if filesystem is not None else local_path(location)
    if path is not None:
        folder = LocalFolder(path)
        _within(TIME_LIMIT, lambda: _prepare_folder(folder, create=create), shown=folder.shown)
        return folder
    return _within(
        TIME_LIMIT,
        lambda: _open_bucket(str(location), create=create, filesystem=filesystem),
        shown=without_secrets(str(location)),
    )


def _open_bucket(location: str, *, create: bool, filesystem: Any) -> Bucket:
    if filesystem is not None:
        later = Bucket(filesystem, location, shown=location)
        _prepare(later, create=create)
        return later
    later, base = _from_uri(location)
    shown = without_secrets(location).partition("?")[0]
    first = later
    match location.partition("://")[0]:
        case "s3":
            first = _s3(location, region=later.region, timeout=PROBE_TIMEOUT, attempts=2)
            later = _s3(location, region=later.region, timeout=WORK_TIMEOUT, attempts=5)
        case "gs" | "gcs" if "retry_limit_seconds=" not in location:
            first, _ = _from_uri(f"{location}{'&' if '?' in location else '?'}retry_limit_seconds={PROBE_TIMEOUT:.0f}")
    _prepare(Bucket(first, base, shown=shown), create=create)
    return Bucket(later, base, shown=shown)


def _prepare_folder(medium: LocalFolder, *, create: bool) -> None:
    root = medium.root
    with reading(str(root)):
        if root.exists() and not root.is_dir():
            raise UserError(f"{root} is a file; a storage is a folder or an address such as s3://bucket/folder")
    if not create:
        _prepare(medium, create=False)
        return
    with storing(root), new_folders(root):
        _prepare(medium, create=True)


def _prepare(medium: Medium, *, create: bool) -> None:
    marker = medium.read(MARKER)
    if marker is None:
        others = [e.name for e in medium.entries("") if not e.name.startswith(".") and e.name != "lost+found"]
        marker = medium.read(MARKER) if others else None  # another process may be making it
        if others and marker is None:
            raise UserError(_something_else(medium, others))
    if marker is None and not create:
        raise UserError(
            f"{medium.shown} holds no store; give the --storage of a study, or make one by running it there"
        )
    if marker is None:
        medium.write(MARKER, json.dumps({"format": FORMAT}).encode())
    elif (found := marker_format(marker, medium)) < FORMAT:
        raise UserError(
            f"{medium.shown} was written by an older pmd_ray (format {found}); "
            f"bring it to format {FORMAT} with: pmd store migrate {medium.shown}"
        )
    if create:
        probe = f".probe-{token_hex(4)}"
        medium.write(probe, b"\0" * 4096)
        medium.remove(probe)


def marker_format(marker: bytes, medium: Medium) -> int:
    """The format that a store's marker names: this one, or an older one.

    Raises:
        UserError: a newer one, or garbage.
    """
    where = medium.where(MARKER)
    try:
        found = read_object(marker, where).get("format")
    except Unreadable as error:
        raise UserError(f'{error}; if the folder is a store, write {{"format": {FORMAT}}} into that file') from None
    if not isinstance(found, int) or isinstance(found, bool) or found < 0:
        raise UserError(f"{where} names no format ({found!r}); choose another storage")
    if found > FORMAT:
        raise UserError(
            f"{medium.shown} was written by a newer pmd_ray (format {found}; this one knows {FORMAT}); "
            "upgrade pmd_ray, or choose another storage"
        )
    return found


def _something_else(medium: Medium, names: list[str]) -> str:
    shown = ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
    if {"results.json", "chain.yaml"} & set(names):
        return (
            f"{medium.shown} holds a run of pmd distill ({shown}), no store; choose an empty folder, or bring its "
            f"grades into a store with: pmd store migrate {medium.shown} STORE"
        )
    return f"{medium.shown} holds something else ({shown}); choose an empty folder, or one that is a store"


def _from_uri(location: str) -> tuple[Any, str]:
    """A file system and the path in it, by address.

    Raises:
        UserError: the address is not well formed, or of a kind that is not known.
        StorageError: the library that it needs is not there.
    """
    from pyarrow.fs import FileSystem

    shown, scheme = without_secrets(location), location.partition("://")[0]
    if scheme not in SCHEMES:
        known = ", ".join(f"{name}://" for name in ("file", *SCHEMES))
        raise UserError(f"{shown}: no storage is known by '{scheme}://'; give a folder, or one of {known}")
    try:
        filesystem, base = FileSystem.from_uri(location)
    except (ValueError, TypeError) as error:
        raise UserError(f"{shown} is no address of a storage: {error}") from None
    except (OSError, NotImplementedError) as error:
        said = " ".join(str(error).split())[:300]
        raise StorageError(f"{shown} cannot be opened: {said}; choose another storage") from None
    if not base.strip("/"):
        raise UserError(f"{shown} names no bucket; write {scheme}://bucket/folder")
    return filesystem, base


def _s3(location: str, *, region: str, timeout: float, attempts: int) -> Any:
    """S3 with time limits, which an address cannot name; all that it can name was checked by `_from_uri`."""
    from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem

    parts = urlsplit(location)
    given: dict[str, Any] = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    given = {name: value == "true" if value in ("true", "false") else value for name, value in given.items()}
    given.pop("smart_defaults", None)
    if parts.username:
        given |= {"access_key": unquote(parts.username), "secret_key": unquote(parts.password or "")}
    return S3FileSystem(
        **{**given, "region": region},
        connect_timeout=5.0,
        request_timeout=timeout,
        retry_strategy=AwsStandardS3RetryStrategy(max_attempts=attempts),
    )


def _within(seconds: float, work: Callable[[], T], *, shown: str) -> T:
    """What `work` returns or raises; a thread that hangs in a library or on a network mount is left behind.

    Raises:
        StorageError: it took longer.
    """
    outcome: list[T] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            outcome.append(work())
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=run, daemon=True, name="pmd-storage")
    thread.start()
    thread.join(seconds)
    if failure:
        raise failure[0]
    if not outcome:
        raise StorageError(
            f"{shown} did not answer within {seconds:.0f} s; check the address and the network, "
            "or choose another storage"
        )
    return outcome[0]
