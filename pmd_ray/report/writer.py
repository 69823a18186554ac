"""What every report writes alike: tables and figures in the formats asked for; what an earlier one left is removed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence, Set
from pathlib import Path

from pmd_ray.report.draw import Drawing
from pmd_ray.report.folder import remove_others, write_bytes, write_text
from pmd_ray.report.sheet import Sheet
from pmd_ray.report.sheet_files import to_csv, to_latex, to_markdown
from pmd_ray.spec.errors import UserError, nearest

READ = {"md": to_markdown, "tex": to_latex}
"""Formats of tables for reading."""
DRAWN = ("svg", "png")


def checked_formats(asked: Collection[str] | None, known: Sequence[str]) -> frozenset[str]:
    """The formats to write; None asks for all.

    Raises:
        UserError: one is not known.
    """
    wanted = frozenset(known if asked is None else asked)
    if unknown := sorted(wanted - set(known)):
        raise UserError(f"--format {unknown[0]}: not known{nearest(unknown[0], known)} (formats: {', '.join(known)})")
    return wanted


def write_tables(
    folder: Path,
    wanted: Set[str],
    *,
    wide: Callable[[], Iterable[Sheet]],
    shown: Callable[[], Iterable[Sheet]],
    names: Collection[str],
) -> list[Path]:
    """Write tables: wide ones as CSV, those for reading as Markdown and LaTeX.

    Args:
        folder: Files that are neither tables of such a report nor in these formats stay as they are.
        wanted: Formats; others than csv, md and tex are left to others.
        wide: Called where CSV is wanted.
        shown: Called where Markdown or LaTeX is.
        names: What such a report may write: one that an earlier one left and this one has no use for is removed.

    Returns:
        What was written, sorted.

    Raises:
        StorageError: the disk refuses.
    """
    texts: dict[Path, str] = {}
    if "csv" in wanted:
        texts |= {folder / f"{sheet.name}.csv": to_csv(sheet) for sheet in wide()}
    for ending, worded in READ.items():
        if ending in wanted:
            texts |= {folder / f"{sheet.name}.{ending}": worded(sheet) for sheet in shown()}
    for path, text in texts.items():
        write_text(path, text)
    _remove(folder, set(texts), names, wanted & {"csv", *READ})
    return sorted(texts)


def write_figures(folder: Path, wanted: Set[str], drawings: Iterable[Drawing], *, names: Collection[str]) -> list[Path]:
    """Write figures as SVG and PNG; arguments, result and errors as of `write_tables`."""
    endings = [ending for ending in DRAWN if ending in wanted]
    kept = []
    for drawing in drawings:
        for ending in endings:
            write_bytes(path := folder / f"{drawing.name}.{ending}", drawing.svg if ending == "svg" else drawing.png)
            kept.append(path)
    _remove(folder, set(kept), names, endings)
    return sorted(kept)


def _remove(folder: Path, kept: set[Path], names: Collection[str], endings: Iterable[str]) -> None:
    ours = {f"{name}.{ending}" for ending in endings for name in names}
    remove_others(folder, kept, ours=lambda path: path.name in ours)
