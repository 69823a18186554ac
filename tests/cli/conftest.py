"""The command line in this process: its exit code and what it printed where."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from pmd_ray.cli.main import main


@dataclass(frozen=True, kw_only=True)
class Done:
    """What a command line did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as one JSON object; fails where there is anything else."""
        return json.loads(self.out)


Pmd = Callable[..., Done]


@pytest.fixture
def pmd(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Pmd:
    """Call as `pmd("data", "list")`; a traceback on either stream fails the test."""
    monkeypatch.delenv("PMD_TRACEBACK", raising=False)

    def call(*arguments: object) -> Done:
        code = main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        assert "Traceback" not in printed.out + printed.err
        return Done(code=code, out=printed.out, err=printed.err)

    return call
