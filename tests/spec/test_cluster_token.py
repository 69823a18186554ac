"""The token: private, random, made once."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pmd_ray.spec.cluster_token import is_private, make_token
from pmd_ray.spec.errors import UserError


def test_a_token_is_private_and_random(tmp_path: Path) -> None:
    tokens = {make_token(tmp_path / name / "auth_token").read_text(encoding="ascii") for name in ("a", "b")}
    assert len(tokens) == 2
    assert all(re.fullmatch(r"[0-9a-f]{64}", token) for token in tokens)
    assert (tmp_path / "a" / "auth_token").stat().st_mode & 0o777 == 0o600
    assert is_private(tmp_path / "a" / "auth_token")
    (tmp_path / "a" / "auth_token").chmod(0o640)
    assert not is_private(tmp_path / "a" / "auth_token")


def test_a_token_is_never_overwritten(tmp_path: Path) -> None:
    file = make_token(tmp_path / "auth_token")
    before = file.read_text(encoding="ascii")
    with pytest.raises(UserError, match="is there already"):
        make_token(file)
    assert file.read_text(encoding="ascii") == before
