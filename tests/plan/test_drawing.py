"""The tree on a terminal and as Graphviz text: shared stages once, seeds folded, nothing wider than the terminal."""

from __future__ import annotations

import re
from typing import Any

import pytest

from pmd_ray.plan.dot import dot, quoted
from pmd_ray.plan.draw import ASCII, duration, tree_lines

VARIANTS = {
    "no_mask": {"mask.rate": 0.0},
    "fixed": {"mask.rate": 0.2},
    "a_variant_with_a_name_that_is_longer_than_its_column": {"teacher": "none", "mask_rates": [0.0, 0.0]},
}


def test_shared_stages_stand_once_and_branches_below_them(studied: Any, planned: Any) -> None:
    lines = tree_lines(planned(studied(VARIANTS)))
    assert [re.split(r" {2,}", line)[::2] for line in lines] == [
        ["teacher 2", "all 4 variants"],
        ["├─ 2:0.2", "baseline, fixed"],
        ["│", "15 s"],
        ["│", "15 s"],
        ["└─ 2 → 1", "no_mask"],
        ["1", "a_variant_with_a_name_that_is_longer_than_its_column"],
    ]
    assert [line.split()[1:3] for line in lines[2:4]] == [["├─", "1"], ["└─", "1:0.2"]]
    assert [line.split()[-1] for line in lines[2:4]] == ["baseline", "fixed"]


@pytest.mark.parametrize("width", [40, 60, 80, 140])
def test_no_line_is_wider_than_the_terminal(studied: Any, planned: Any, width: int) -> None:
    lines = tree_lines(planned(studied(VARIANTS)), width=width)
    assert max(map(len, lines)) <= width
    # Nothing is lost by wrapping: names are there, though in parts.
    joined = re.sub(r"[│├└─ ]", "", "".join(lines))
    assert "a_variant_with_a_name_that_is_longer_than_its_column" in joined


def test_a_terminal_without_line_drawing_gets_ascii(studied: Any, planned: Any) -> None:
    assert all(line.isascii() for line in tree_lines(planned(studied(VARIANTS)), glyphs=ASCII))


def test_what_is_stored_is_marked(studied: Any, planned: Any) -> None:
    study = studied(VARIANTS)
    roots = [stage.key for stage in planned(study).tree.roots()]
    lines = tree_lines(planned(study, stored=roots[:2]))
    assert "stored" in lines[0]
    assert "of" not in lines[0].split("stored")[0]
    half = tree_lines(planned(study, stored=roots[:1]))
    assert "1 of 2 stored" in half[0]


def test_arms_of_the_nuisance_settings_are_told(studied: Any, planned: Any) -> None:
    study = studied({"x": {"loss.alpha": 0.3}}, roles={"nuisance": {"optimiser.lr": [0.1, 0.2]}})
    lines = tree_lines(planned(study))
    assert any("[optimiser.lr=0.1]" in line for line in lines)
    assert any("[optimiser.lr=0.2]" in line for line in lines)


def test_controls_say_whose_they_are(studied: Any, planned: Any) -> None:
    lines = tree_lines(planned(studied({"x": {"loss.alpha": 0.3}}, baseline={"controls": True})))
    assert lines[-1].startswith("1-alone 1 ")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (59, "59 s"),
        (90, "1.5 min"),
        (3600, "1 h"),
        (90_000, "25 h"),
        (200_000, "2.3 d"),
        (1e8, "1,157 d"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_dot_has_a_node_for_each_stage_without_its_seeds(studied: Any, planned: Any) -> None:
    plan = planned(studied(VARIANTS))
    text = dot(plan)
    nodes = re.findall(r"^  (n\d+) \[", text, flags=re.MULTILINE)
    edges = re.findall(r"^  (n\d+) -> (n\d+);$", text, flags=re.MULTILINE)
    assert len(nodes) == len(set(nodes)) == plan.tree.distinct // 2
    assert len(edges) == sum(stage.teacher_key is not None for stage in plan.tree.stages.values()) // 2
    assert {end for edge in edges for end in edge} <= set(nodes)
    assert text.startswith('digraph "study" {')
    assert text.endswith("}")
    assert "x 2 seeds" in text


def test_dot_marks_what_is_stored(studied: Any, planned: Any) -> None:
    study = studied(VARIANTS)
    keys = planned(study).tree.stages
    assert dot(planned(study, stored=keys)).count("#d5e8d4") == len(keys) // 2
    assert "#fff2cc" in dot(planned(study, stored=list(keys)[:1]))


def test_labels_cannot_leave_their_quotes() -> None:
    assert quoted('a "b" \\ c\nd') == r'"a \"b\" \\ c\nd"'
