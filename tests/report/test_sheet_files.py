"""Tables on paper: names are data in CSV, Markdown and LaTeX, and figures keep every digit."""

from __future__ import annotations

import csv
import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pmd_ray.report.sheet import interval, number, p_value, sheet, signed, size, with_spread
from pmd_ray.report.sheet_files import FORMULA, latex, to_csv, to_latex, to_markdown

WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\0"), max_size=20)


@given(st.lists(st.tuples(WORDS, st.floats(allow_nan=False) | st.integers() | st.none()), max_size=5))
def test_csv_is_read_back(rows: list[tuple[str, float | int | None]]) -> None:
    written = to_csv(sheet("t", ("name", "value"), [{"name": a, "value": b} for a, b in rows]))
    back = list(csv.reader(io.StringIO(written)))
    assert back[0] == ["name", "value"]
    for (name, value), (cell, figure) in zip(rows, back[1:], strict=True):
        assert cell.removeprefix("'") == name.removeprefix("'") and not cell.startswith(FORMULA)
        assert figure == ("" if value is None else repr(value))
        assert value is None or type(value)(figure) == value


@pytest.mark.parametrize("text", ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "\t=1"])
def test_a_formula_in_a_name_is_quoted_and_a_negative_figure_is_not(text: str) -> None:
    line = to_csv(sheet("t", ("name", "value"), [{"name": text, "value": -0.5}])).splitlines()[1]
    assert next(csv.reader([line])) == [f"'{text}", "-0.5"]


def test_markdown_shows_names_as_they_are() -> None:
    table = sheet(
        "t", ("name", "x"), [{"name": "a|b <script> *c* [d](http://e) no_mgfd", "x": "0.571 ± 0.003"}], texts=("name",)
    )
    head, rule, row = to_markdown(table).splitlines()[:3]
    cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]]
    assert cells == [r"a\|b &lt;script&gt; \*c\* [d\](http://e) no_mgfd", "0.571 ± 0.003"]
    assert len(head) == len(rule) == len(row) and rule.endswith("-: |")


def test_latex_has_booktabs_and_escapes() -> None:
    table = sheet("t", ("no_x", "y"), [{"no_x": "[1] 50 % & $x_1$ \\cmd{}", "y": "−0.01 ± 0.002"}], texts=("no_x",))
    text = to_latex(table)
    assert r"\begin{tabular}{lr}" in text and r"\toprule" in text and r"no\_x & y \\" in text
    assert r"{[}1{]} 50 \% \& \$x\_1\$ \textbackslash{}cmd\{\}" in text and r"$-$0.01 $\pm$ 0.002 \\" in text


@given(st.text(max_size=30))
def test_no_text_leaves_an_active_character_in_latex(text: str) -> None:
    rest = re.sub(r"\\text[a-z]+\{\}|\\[&%$#_{}]|\$\\?[a-z-]+\$|\{\[\}|\{\]\}", "", latex(text))
    assert not re.search(r"[\\&%$#_{}~^]", rest)


def test_a_cell_without_a_column_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="no column for b"):
        sheet("t", ("a",), [{"a": 1, "b": 2}])


def test_optional_columns_go_where_they_are_empty() -> None:
    rows = [{"a": 1, "b": None, "c": ""}, {"a": 2, "c": "x"}]
    assert sheet("t", ("a", "b", "c"), rows, optional=("b", "c")).columns == ("a", "c")


def test_infinities_are_no_json() -> None:
    assert sheet("t", ("a",), [{"a": float("-inf")}]).objects() == [{"a": None}]


@pytest.mark.parametrize(
    ("worded", "text"),
    [
        (number(None), ""),
        (number(-0.1234), "−0.123"),
        (signed(0.0104), "+0.010"),
        (signed(-0.0004), "0.000"),
        (interval(-0.011, 0.0012, sign=True), "[−0.011, +0.001]"),
        (interval(float("-inf"), float("inf")), "[−∞, ∞]"),
        (interval(None, None), ""),
        (with_spread(0.5712, 0.0031), "0.571 ± 0.003"),
        (with_spread(0.5712, None), "0.571"),
        (p_value(0.0004), "< 0.001"),
        (p_value(0.0625), "0.062"),
        (p_value(0.25), "0.25"),
        (p_value(1.0), "1.00"),
        (p_value(None), ""),
        (size(1_500_000_000), "1.5 GB"),
        (size(812_000), "812 kB"),
        (size(None), ""),
    ],
)
def test_figures_as_words(worded: str, text: str) -> None:
    assert worded == text
