"""Downloads one file: resumes where an earlier try stopped, tries again after failures, verifies by git blob id."""

from __future__ import annotations

import hashlib
import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

from pmd_ray.spec.errors import StorageError, UserError

Progress = Callable[[str, int, int | None], None]
"""Called with file name, bytes there, bytes in all (None where unknown)."""

TRIES = 4
TIMEOUT = 30.0
"""Seconds without a byte before a try is given up."""
CHUNK = 1 << 16
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Answers of a server that may go well a moment later."""


class _Again(Exception):
    """This try failed in a way that another may not."""


def download(url: str, path: Path, *, blob: str, progress: Progress | None = None, pause: float = 1.0) -> None:
    """Get `url` into `path`, whose content has the git blob id `blob`; do nothing where it is there already.

    Bytes gather in `path` + `.part`, which stays for the next call when this one fails. Raises UserError where the
    network or server fails for good or the content is another, StorageError where the disk fails.
    """
    if path.is_file() and blob_id(path) == blob:
        return
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not (part.is_file() and blob_id(part) == blob):
            _complete(url, part, progress=progress, pause=pause)
        if blob_id(part) != blob:
            # What an earlier call left may be of something else: once more from the start, then it is the server's.
            part.unlink()
            _complete(url, part, progress=progress, pause=pause)
        if (found := blob_id(part)) != blob:
            part.unlink()
            advice = "the file at this address has changed, or something on the way changes it; try another network"
            raise UserError(f"checksum of {url} is {found} instead of {blob}: {advice}")
        part.replace(path)
    except OSError as error:
        raise StorageError(f"{path} could not be written: {error.strerror or error}") from error


def blob_id(path: Path) -> str:
    """The git blob id of a file (hex): SHA-1 of `blob <size>`, a NUL and the bytes."""
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _complete(url: str, part: Path, *, progress: Progress | None, pause: float) -> None:
    """Try until the whole of `url` is in `part`; bytes that are there are not asked for again."""
    reason = ""
    for attempt in range(TRIES):
        if attempt:
            time.sleep(pause * 2 ** (attempt - 1))
        try:
            _try_once(url, part, progress=progress)
            return
        except _Again as failure:
            reason = str(failure)
    advice = "check the network (or proxy) and run the same command again; it goes on where it stopped"
    raise UserError(f"could not download {url} in {TRIES} tries: {reason}; {advice}")


def _try_once(url: str, part: Path, *, progress: Progress | None) -> None:
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "pmd_ray"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    with _open(request, url, part) as answer:
        resumed = answer.status == 206 and _starts_at(answer, have)
        if have and answer.status == 206 and not resumed:
            part.unlink()
            raise _Again("the server sent another range than asked for")
        length = answer.headers.get("Content-Length")
        done = have if resumed else 0
        total = done + int(length) if length and length.isdigit() else None
        with part.open("ab" if resumed else "wb") as file:
            for chunk in _chunks(answer):
                file.write(chunk)
                done += len(chunk)
                if progress:
                    progress(part.name.removesuffix(".part"), done, total)
    if total is not None and done < total:
        raise _Again(f"the connection closed after {done:,} of {total:,} bytes")


def _open(request: urllib.request.Request, url: str, part: Path) -> http.client.HTTPResponse:
    try:
        return cast(http.client.HTTPResponse, urllib.request.urlopen(request, timeout=TIMEOUT))
    except urllib.error.HTTPError as error:
        if error.code == 416:  # we hold as much as there is, or more: only starting over tells
            part.unlink(missing_ok=True)
            raise _Again("the partial file did not fit") from error
        if error.code in PASSING:
            raise _Again(f"the server answered {error.code} {error.reason}") from error
        advice = "the repository has moved or removed it; import a copy of the files with: pmd data import"
        raise UserError(
            f"could not download {url}: the server answered {error.code} {error.reason}; {advice}"
        ) from error
    except urllib.error.URLError as error:
        raise _Again(str(error.reason)) from error
    except (http.client.HTTPException, OSError) as error:
        raise _Again(str(error) or type(error).__name__) from error
    except ValueError as error:
        raise UserError(f"{url} is not a web address: {error}") from error


def _starts_at(answer: http.client.HTTPResponse, start: int) -> bool:
    return str(answer.headers.get("Content-Range", "")).startswith(f"bytes {start}-")


def _chunks(answer: http.client.HTTPResponse) -> Iterator[bytes]:
    """The body in pieces; a network failure is a reason to try again, never mistaken for one of the disk."""
    while True:
        try:
            chunk = answer.read1(CHUNK)  # what is there now: progress moves, and a kill loses little
        except (http.client.HTTPException, OSError) as error:
            raise _Again(str(error) or type(error).__name__) from error
        if not chunk:
            return
        yield chunk
