"""Studies that are registered in a store: what they refer to is never removed."""

from __future__ import annotations

import re

from pmd_ray.store.layout import STUDIES, Unreadable, Warn, quoted, read_object, unquoted
from pmd_ray.store.medium import Medium

REFERENCE = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
"""Any hash in a study's record may be a stage key: one too many kept does no harm."""


class Studies:
    """The records of studies, by name; what is in them is the affair of who registers them."""

    def __init__(self, medium: Medium, warn: Warn) -> None:
        self._medium = medium
        self._warn = warn

    def register(self, name: str, record_json: str) -> None:
        """Write or replace a study's record, whole.

        Raises:
            UserError: the name cannot be a file's.
            Unreadable: the record is no JSON object.
            StorageError: the storage refuses.
        """
        path = f"{STUDIES}/{quoted(name)}.json"
        read_object(record_json.encode(), self._medium.where(path))
        self._medium.write(path, record_json.encode())

    def all(self) -> dict[str, str]:
        """Every study's record that can be read, by name."""
        found: dict[str, str] = {}
        for name, data, path in self._records():
            text = self._text(data, path)
            if text is not None:
                found[name] = text
        return found

    def one(self, name: str) -> str | None:
        """A study's record; None where there is none that can be read."""
        path = f"{STUDIES}/{quoted(name)}.json"
        data = self._medium.read(path)
        return None if data is None else self._text(data, path)

    def references(self) -> dict[str, list[str]]:
        """The stage keys that studies refer to, each with the names of those studies.

        Raises:
            Unreadable: a record is garbage, and so nobody knows what it refers to.
        """
        found: dict[str, list[str]] = {}
        for name, data, path in self._records():
            read_object(data, self._medium.where(path))
            for key in {reference.decode() for reference in REFERENCE.findall(data)}:
                found.setdefault(key, []).append(name)
        return found

    def _text(self, data: bytes, path: str) -> str | None:
        try:
            read_object(data, self._medium.where(path))
        except Unreadable as error:
            self._warn(f"{error}; that study is left out")
            return None
        return data.decode()

    def _records(self) -> list[tuple[str, bytes, str]]:
        paths = [
            (unquoted(entry.name.removesuffix(".json")), f"{STUDIES}/{entry.name}")
            for entry in self._medium.entries(STUDIES)
            if entry.name.endswith(".json") and not entry.name.startswith(".")
        ]
        read = [(name, self._medium.read(path), path) for name, path in paths]
        return [(name, data, path) for name, data, path in read if data is not None]
