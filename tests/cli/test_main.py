"""The frame of the command line: light, findable verbs, and each failure as one message with its exit code."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from pmd_ray import __version__, cli
from pmd_ray.cli import data, main
from pmd_ray.spec.errors import DataError, StorageError

pytestmark = pytest.mark.whole

PMD = [sys.executable, "-c", "from pmd_ray.cli.main import run; run()"]
HEAVY = ("torch", "ray", "transformers", "numpy", "pyarrow", "rich.console")


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Make `pmd data list` raise what the test gives."""

    def plant(error: BaseException) -> None:
        def raises() -> None:
            raise error

        monkeypatch.setattr(data, "list_datasets", raises)

    return plant


@pytest.mark.parametrize("argument", ["--help", "--version"])
def test_help_and_version_are_light(argument: str) -> None:
    code = (
        "import sys; from pmd_ray.cli.main import main; code = main(sys.argv[1:])\n"
        f"print(sorted(set({HEAVY}) & set(sys.modules)), file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code, argument], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.strip()) == (0, "[]")


def test_help_is_quick() -> None:
    """In CPU time, and the best of five: other programs may run."""

    def seconds() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([*PMD, "--help"], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert any(seconds() < 0.5 for _ in range(5))


def test_version_and_help_say_what_there_is(pmd: Callable[..., Any]) -> None:
    assert pmd("--version").out == f"pmd {__version__}\n"
    assert " data " in pmd("--help").out
    assert pmd("--help").code == 0
    for verb in ("list", "check", "show", "fetch", "import"):
        assert f" {verb} " in pmd("data", "-h").out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["dta"], "error: no verb 'pmd dta'; did you mean 'data'?"),
        (["zzz"], "error: no verb 'pmd zzz' (verbs: "),
        (["data", "chekc"], "error: no verb 'pmd data chekc'; did you mean 'check'?"),
        (["--verbose"], "No such option: --verbose"),
        (["data", "show"], "Missing argument"),
        (["data", "show", "cldr", "--triples", "many"], "--triples"),
    ],
)
def test_wrong_command_lines_exit_with_2(pmd: Callable[..., Any], arguments: list[str], message: str) -> None:
    done = pmd(*arguments)
    assert (done.code, done.out) == (2, "")
    assert message in done.err


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (StorageError("the disk is full; free some space"), 2, "error: the disk is full; free some space\n"),
        (DataError("graph", ["a.tsv:1: [b] is bad"]), 2, "error: graph: 1 error\n  a.tsv:1: [b] is bad\n"),
        (KeyboardInterrupt(), 130, "stopped: interrupted; the same command goes on where it stopped\n"),
        (
            KeyboardInterrupt("stopped after grade 2; go on with X"),
            130,
            "stopped: stopped after grade 2; go on with X\n",
        ),
        (
            OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/x/y"),
            2,
            "error: No space left on device: /x/y; free some",
        ),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), 2, "error: No space left on device; free some space"),
        (PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/x"), 2, "error: Permission denied: /x; choose"),
        (OSError(errno.EROFS, os.strerror(errno.EROFS), "/x"), 2, "error: Read-only file system: /x; choose"),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), 141, ""),
    ],
)
def test_failures_are_one_message(
    pmd: Callable[..., Any],
    failing: Callable[[BaseException], None],
    error: BaseException,
    code: int,
    message: str,
) -> None:
    failing(error)
    done = pmd("data", "list")
    assert (done.code, done.out) == (code, "")
    assert done.err.startswith(message) if message else done.err == ""


@pytest.mark.parametrize("error", [RuntimeError("odd\nsecond line"), FileNotFoundError(errno.ENOENT, "no such", "/x")])
def test_a_bug_keeps_its_traceback_in_a_file(
    pmd: Callable[..., Any],
    failing: Callable[[BaseException], None],
    error: Exception,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    failing(error)
    done = pmd("data", "list")
    (kept,) = tmp_path.iterdir()
    assert done.code == 1
    assert done.err.startswith(f"error: this is a bug of pmd_ray ({type(error).__name__}: ")
    assert done.err.count("\n") == 1
    assert str(kept) in done.err
    assert "Traceback" in kept.read_text()
    assert __version__ in kept.read_text()


@pytest.mark.parametrize(("option", "variable"), [("--debug", ""), (None, "1")])
def test_debug_shows_the_traceback(
    failing: Callable[[BaseException], None],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    option: str | None,
    variable: str,
) -> None:
    monkeypatch.setenv("PMD_TRACEBACK", variable)
    failing(StorageError("full"))
    assert main.main([*([option] if option else []), "data", "list"]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("Traceback (most recent call last)")
    assert printed.endswith("\nerror: full\n")


def test_a_verb_is_a_new_file_and_nothing_else(
    pmd: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "def register(app):\n    app.command('wave')(lambda: print('hello'))\n"
    (tmp_path / "wave_verb_of_a_test.py").write_text(text)
    monkeypatch.setattr("pmd_ray.cli.__path__", [*cli.__path__, str(tmp_path)])
    assert pmd("wave").out == "hello\n"
    monkeypatch.delitem(sys.modules, "pmd_ray.cli.wave_verb_of_a_test")


def test_a_verb_that_cannot_be_imported_is_a_bug_with_a_message(
    pmd: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "broken_verb_of_a_test.py").write_text("import a_module_that_is_not_there\n\ndef register(app): ...\n")
    monkeypatch.setattr("pmd_ray.cli.__path__", [*cli.__path__, str(tmp_path)])
    done = pmd("data", "list")
    assert done.code == 1
    assert "this is a bug of pmd_ray (ModuleNotFoundError" in done.err


def test_every_verb_file_registers_something() -> None:
    for verb in main._verbs():
        app = typer.Typer()
        verb.register(app)
        assert app.registered_commands or app.registered_groups, verb.__name__


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_under_standard_output() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*PMD, "data", "list", "--json"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 2
    assert done.stderr.startswith("error: No space left on device; free some space")
    assert done.stderr.count("\n") == 1


def test_a_reader_that_leaves_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([*PMD, "data", "show", "cldr"], stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")
