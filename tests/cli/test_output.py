"""Printing: data are never markup, plain lines where there is no terminal, one JSON object."""

from __future__ import annotations

import io
import json
import sys

import pytest

from pmd_ray.cli import output
from pmd_ray.cli.progress import Lines, progress

ROWS: list[list[output.Cell]] = [["[red]a[/red]", 12345, "0.512"], ["b\x1b[2J", None, "0.1"]]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def on_terminal(monkeypatch: pytest.MonkeyPatch, stream: str, *, columns: int = 80) -> Terminal:
    screen = Terminal()
    monkeypatch.setattr(sys, stream, screen)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", str(columns))
    for variable in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(variable, raising=False)
    return screen


def test_a_table_without_terminal_is_aligned_lines(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_table(["name", "[MASK]", "mrr"], ROWS, title="T")
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "T",
        "name          [MASK]    mrr",
        "[red]a[/red]  12,345  0.512",
        "b<U+001B>[2J       -    0.1",
    ]


def test_a_table_without_terminal_is_never_cut(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_table(["a", "b"], [["x" * 500, "end"]])
    assert capsys.readouterr().out.splitlines()[1] == "x" * 500 + "  end"


def test_a_table_on_a_terminal_fits_it_and_keeps_data_as_data(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = on_terminal(monkeypatch, "stdout", columns=40)
    output.print_table(["name", "[MASK]", "mrr"], [*ROWS, ["y" * 100, 1, "1"]])
    assert "[red]a[/red]" in screen.getvalue()
    assert "[MASK]" in screen.getvalue()
    assert "\x1b[2J" not in screen.getvalue()
    assert screen.getvalue().count("y") == 100


def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = on_terminal(monkeypatch, "stderr")
    output.complain("bad [b]thing[/b]")
    assert "\x1b[1;31m" in screen.getvalue()
    assert "bad [b]thing[/b]" in screen.getvalue()
    screen = on_terminal(monkeypatch, "stderr")
    monkeypatch.setenv("NO_COLOR", "1")
    output.complain("bad")
    assert "31m" not in screen.getvalue()


def test_json_moves_tables_and_lines_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    output.say("a line", json=True)
    output.print_table(["a"], [["b"]], json=True)
    output.print_json({"name": "Côte\x1b \ud800"})
    printed = capsys.readouterr()
    assert json.loads(printed.out) == {"name": "Côte\x1b \ud800"}
    assert printed.out.isascii()
    assert printed.err == "a line\na\nb\n"


def test_json_refuses_nan() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        output.print_json({"mrr": float("nan")})


def test_progress_lines_tell_rate_and_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    lines = Lines(unit="steps", every=10.0, clock=lambda: now[0])
    for second, done in [(0, 100), (5, 150), (10, 200), (12, 220), (20, 300), (21, 300)]:
        now[0] = float(second)
        lines.tell("grade 6", done, 400)
    lines.finish()
    assert capsys.readouterr().err.splitlines() == [
        "grade 6: 200 of 400, 10.0/s, 20 s left",
        "grade 6: 300 of 400, 10.0/s, 10 s left",
        "grade 6: 300 of 400, 9.5/s, 10 s left",
    ]


def test_progress_without_terminal_ends_each_task_with_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with progress(unit="bytes") as tell:
        tell("a", 1000, 2_000_000)
        tell("a", 2_000_000, 2_000_000)
        tell("b", 500, None)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("a: 2.0 MB of 2.0 MB")
    assert lines[1].startswith("b: 0.5 kB")


@pytest.mark.parametrize("unit", ["bytes", "steps"])
def test_progress_on_a_terminal_is_a_bar(monkeypatch: pytest.MonkeyPatch, unit: str) -> None:
    screen = on_terminal(monkeypatch, "stderr", columns=100)
    with progress(unit=unit) as tell:  # type: ignore[arg-type]
        tell("[b]file", 50, 100)
        tell("[b]file", 100, 100)
    assert "[b]file" in screen.getvalue()
    assert "100/100" in screen.getvalue()
