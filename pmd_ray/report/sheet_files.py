"""A sheet as CSV, Markdown or LaTeX (booktabs). Names in it are data: nothing that they hold is obeyed."""

from __future__ import annotations

import csv
import io
import re

from pmd_ray.report.sheet import Cell, Sheet

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""Spreadsheets take a text that starts so for a formula."""
MARKUP = re.compile(r"[\\`*|$~]|(?<!\w)_|_(?!\w)|\](?=[(\[:])")
"""What Markdown would obey."""
LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "[": "{[}",
    "]": "{]}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "±": r"$\pm$",
    "−": r"$-$",
    "×": r"$\times$",
    "∞": r"$\infty$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "\n": " ",
}


def to_csv(sheet: Sheet) -> str:
    """RFC 4180 with one heading line; figures with every digit, texts that look like a formula after an apostrophe."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(sheet.columns)
    writer.writerows([_csv_cell(cell) for cell in row] for row in sheet.rows)
    return buffer.getvalue()


def to_markdown(sheet: Sheet) -> str:
    """A pipe table, padded so that it can be read as it stands, its caption under it."""
    cells = [[_markdown_cell(cell) for cell in row] for row in (sheet.columns, *sheet.rows)]
    widths = [max(3, *(len(row[place]) for row in cells)) for place in range(len(sheet.columns))]
    left = [column in sheet.texts for column in sheet.columns]
    lines = [
        "| " + " | ".join(_padded(c, w, is_left) for c, w, is_left in zip(row, widths, left, strict=True)) + " |"
        for row in cells
    ]
    rule = "| " + " | ".join(
        "-" * w if is_left else "-" * (w - 1) + ":" for w, is_left in zip(widths, left, strict=True)
    )
    caption = f"\n{_markdown_text(sheet.caption)}\n" if sheet.caption else ""
    return "\n".join([lines[0], f"{rule} |", *lines[1:]]) + "\n" + caption


def to_latex(sheet: Sheet) -> str:
    r"""A `table` for `\input`, with rules of booktabs; the caption says what the figures rest on."""
    columns = "".join("l" if column in sheet.texts else "r" for column in sheet.columns)
    rows = [" & ".join(latex(_plain(cell)) for cell in row) + r" \\" for row in sheet.rows]
    head = " & ".join(latex(column) for column in sheet.columns) + r" \\"
    return "\n".join(
        [
            r"% \usepackage{booktabs}",
            r"\begin{table}",
            r"\centering\small",
            rf"\caption{{{latex(sheet.caption)}}}",
            rf"\label{{tab:{sheet.name}}}",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            head,
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def latex(text: str) -> str:
    """Text that LaTeX prints as it is."""
    return "".join(LATEX.get(letter, letter) for letter in text)


def _plain(cell: Cell) -> str:
    return "" if cell is None else cell if isinstance(cell, str) else repr(cell)


def _csv_cell(cell: Cell) -> str:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) else _plain(cell)


def _markdown_cell(cell: Cell) -> str:
    return _markdown_text(_plain(cell))


def _markdown_text(text: str) -> str:
    """Text that Markdown shows as it is; an underscore inside a word and a plain bracket need no escape."""
    text = " ".join(text.split("\n")).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return MARKUP.sub(r"\\\g<0>", text)


def _padded(text: str, width: int, is_left: bool) -> str:
    return text.ljust(width) if is_left else text.rjust(width)
