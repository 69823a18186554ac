"""The token that every node and client of a cluster presents, in a file that only its owner can read."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from pmd_ray.spec.errors import UserError

TOKEN_BYTES = 32
OWNER_ONLY = 0o600


def make_token(file: Path) -> Path:
    """Write a new token; it is never shown.

    Raises:
        UserError: there is one already, which a running cluster may know.
        StorageError, OSError: the folder cannot be written.
    """
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY)
    except FileExistsError:
        raise UserError(
            f"{file} is there already; remove it for a new one (clusters that know it need `ray up` again)"
        ) from None
    with os.fdopen(descriptor, "w", encoding="ascii") as opened:
        opened.write(secrets.token_hex(TOKEN_BYTES))
    file.chmod(OWNER_ONLY)  # whatever the umask took away
    return file


def is_private(file: Path) -> bool:
    """Whether nobody but the owner can read the file."""
    return not file.stat().st_mode & 0o077
