"""Turns whatever a verb raises into one clear message on standard error, and an exit code."""

from __future__ import annotations

import contextlib
import os
import platform
import shlex
import sys
import tempfile
import traceback

from pmd_ray import __version__
from pmd_ray.cli.output import complain
from pmd_ray.spec.disk import storage_failure
from pmd_ray.spec.errors import PmdError

FAILED, INTERRUPTED = 1, 130
PIPE_CLOSED = 141
"""What a shell reports for a program whose reader went away (`pmd data show cldr | head`)."""


def explain(error: BaseException, *, debug: bool = False) -> int:
    """Print what went wrong, for the person who typed the command; return the exit code.

    With `debug`, or PMD_TRACEBACK=1 in the environment, the traceback is printed before the message.
    """
    if debug or os.environ.get("PMD_TRACEBACK", "") not in ("", "0"):
        traceback.print_exception(error, file=sys.stderr)
    match error:
        case PmdError():
            complain(str(error))
            return error.exit_code
        case KeyboardInterrupt():
            # A verb that knows more than this raises KeyboardInterrupt with a text of its own.
            complain(str(error) or "interrupted; the same command goes on where it stopped", label="stopped")
            return INTERRUPTED
        case BrokenPipeError():
            drop_stdout()
            return PIPE_CLOSED
        case _ if (failure := storage_failure(error)) is not None:
            complain(str(failure))
            return failure.exit_code
        case _:
            complain(f"this is a bug of pmd_ray ({_named(error)}); {_traceback_kept(error)}")
            return FAILED


def drop_stdout() -> None:
    """Send what is still buffered for standard output nowhere: the interpreter's last flush would fail on it again."""
    with contextlib.suppress(OSError, ValueError):  # a replaced stdout has no file descriptor
        descriptor = os.open(os.devnull, os.O_WRONLY)
        os.dup2(descriptor, sys.stdout.fileno())
        os.close(descriptor)


def _named(error: BaseException) -> str:
    first_line = next(iter(str(error).splitlines()), "")
    return f"{type(error).__name__}: {first_line}" if first_line else type(error).__name__


def _traceback_kept(error: BaseException) -> str:
    """Write the traceback to a file that outlives us, and say where; to standard error if no file can be written."""
    command = shlex.join(["pmd", *sys.argv[1:]])
    lines = [f"{command}\npmd_ray {__version__}, Python {platform.python_version()}, {platform.platform()}\n\n"]
    lines += traceback.format_exception(error)
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="pmd-traceback-", suffix=".txt", delete=False, encoding="utf-8", errors="backslashreplace"
        ) as file:
            file.writelines(lines)
    except OSError:
        sys.stderr.writelines(lines)
        return "its traceback is above; please report it"
    return f"please report it with its traceback: {file.name}"
