"""`pmd predict`: answers by name or id, the inverse, entities outside the graph."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.whole

Pmd = Callable[..., Any]


def ids(done: Any) -> list[str]:
    assert done.code == 0, done.err
    return [answer["id"] for answer in done.json["answers"]]


def test_names_and_ids_ask_the_same(pmd: Pmd, tiny_run: Any) -> None:
    model = tiny_run.out / "teacher"
    told = pmd("predict", model, "stone 12", "comes before", "--top", "40", "--json")
    assert len(set(ids(told))) == 40
    scores = [answer["score"] for answer in told.json["answers"]]
    assert scores == sorted(scores, reverse=True)
    assert all(-1.0001 <= score <= 1.0001 for score in scores)
    assert [answer["id"] for answer in told.json["answers"] if answer["known"]] == ["e13"]
    assert ids(pmd("predict", model, "e12", "next", "--top", "40", "--json")) == ids(told)
    assert ids(pmd("predict", model, "STONE 12", "next", "--top", "3", "--json")) == ids(told)[:3]


def test_the_inverse_by_word_and_by_option(pmd: Pmd, tiny_run: Any) -> None:
    model = tiny_run.out / "teacher"
    by_word = pmd("predict", model, "e12", "inverse comes before", "--top", "40", "--json")
    by_option = pmd("predict", model, "e12", "next", "--inverse", "--top", "40", "--json")
    assert ids(by_word) == ids(by_option)
    assert [answer["id"] for answer in by_word.json["answers"] if answer["known"]] == ["e11"]


def test_only_new_leaves_out_what_is_known(pmd: Pmd, tiny_run: Any) -> None:
    told = ids(pmd("predict", tiny_run.out / "teacher", "e12", "next", "--only-new", "--top", "100", "--json"))
    assert len(told) == 39
    assert "e13" not in told


def test_an_entity_outside_the_graph_by_its_text(pmd: Pmd, tiny_run: Any) -> None:
    model = tiny_run.out / "teacher"
    told = pmd("predict", model, "stone 99: a lantern by the river", "next", "--text", "--top", "5", "--json")
    assert len(ids(told)) == 5
    assert not [answer for answer in told.json["answers"] if answer["known"]]


def test_the_table(pmd: Pmd, tiny_run: Any) -> None:
    done = pmd("predict", tiny_run.out / "teacher", "e12", "next", "--top", "40")
    title, head, *rows = done.out.splitlines()
    assert title == "(e12, next, ?)"
    assert head.split()[:4] == ["rank", "score", "name", "id"]
    assert len(rows) == 40
    assert [row.split()[-2:] for row in rows if row.endswith("known")] == [["e13", "known"]]
    assert pmd("predict", tiny_run.out / "teacher", "e12", "next", "--inverse").out.startswith("(?, next, e12)\n")


def test_a_cache_gives_equal_answers(pmd: Pmd, tiny_run: Any, tmp_path: Path) -> None:
    runs = [
        ids(pmd("predict", tiny_run.out / "1", "e05", "double", "--cache", tmp_path / "cache", "--json"))
        for _ in range(2)
    ]
    assert runs[0] == runs[1]
    assert len(list((tmp_path / "cache" / "vectors").iterdir())) == 1


@pytest.mark.parametrize("top", ["0", "-1", "many"])
def test_a_wrong_number_of_answers(pmd: Pmd, tiny_run: Any, top: str) -> None:
    done = pmd("predict", tiny_run.out / "1", "e05", "double", "--top", top)
    assert (done.code, done.out) == (2, "")
    assert "--top" in done.err
