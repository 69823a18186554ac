"""The page: one file without a network, names of entities and relations harmless, failures told."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import pytest
from report.synthetic_study import FILE, Made, make_study

from pmd_ray.report.contents import contents
from pmd_ray.report.page import SECTIONS, page_html
from pmd_ray.report.study_report import Written
from pmd_ray.spec.attempt import AttemptState, FailureKind

pytestmark = pytest.mark.whole

VOID = {"meta", "link", "br", "img", "input", "hr", "path", "use", "rect"}
EVIL = "<script>alert(1)</script>"


class Reading(HTMLParser):
    """Collects what matters of a page, and fails on tags that do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.links: list[str] = []
        self.targets: set[str] = set()
        self.words: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        given = {name: value or "" for name, value in attrs}
        assert not [name for name in given if name.startswith("on")]
        self.links += [given[name] for name in ("href", "src", "xlink:href", "action") if name in given]
        assert given.get("id") not in self.targets
        self.targets |= {given["id"]} if "id" in given else set()
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open and self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "svg"} & set(self.open):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def page(made: Made) -> tuple[str, Reading]:
    """Without figures: to draw them takes seconds."""
    text = page_html(contents(made.record, made.store), [], [])
    return text, Reading(text)


@pytest.fixture(scope="module")
def told(reported: Written) -> tuple[Path, str, Reading]:
    text = (reported.out / "report.html").read_text(encoding="utf-8")
    return reported.out, text, Reading(text)


def test_it_is_one_file_without_a_network(told: tuple[Path, str, Reading]) -> None:
    out, text, read = told
    assert not read.tags & {"script", "iframe", "object", "link", "form", "img"}
    for link in read.links:
        assert link.startswith("#") or (out / link).is_file(), link
    assert {link[1:] for link in read.links if link.startswith("#") and link[1:].isalpha()} <= read.targets
    assert "@import" not in text and "url(http" not in text and "default-src 'none'" in text


def test_names_are_text(told: tuple[Path, str, Reading]) -> None:
    _, text, read = told
    assert EVIL in read.text and EVIL not in text and "&lt;script&gt;" in text


def test_it_is_made_for_phones_and_for_the_dark(told: tuple[Path, str, Reading]) -> None:
    _, text, _ = told
    assert 'name="viewport" content="width=device-width, initial-scale=1"' in text
    assert "prefers-color-scheme: dark" in text and "currentColor" in text
    assert text.count("<table>") == text.count('<div class="scroll" tabindex="0"><table>')


def test_it_says_what_a_reader_asks(told: tuple[Path, str, Reading]) -> None:
    _, _, read = told
    for words in (
        "Does masking help, and does the chain of teachers?",
        "seeds 0, 1, 2",
        "3 paired seeds.",
        "63 stages asked for by 12 chains are 39 distinct ones",
        "all 4 variants",
        "None: every stage was trained at its first attempt.",
        "0123456789ab, pmd_ray 0.2.0",
        "node7: 2 cores, Xeon 8480",
        "fingerprint " + "d" * 64,
        "pmd ablate synthetic.yaml",
        "the paper has no figures for cldr",
        "loss.beta: 0, mask.rate: 0",
    ):
        assert words in read.text, words


def test_the_order_of_sections_is_that_of_its_contents(told: tuple[Path, str, Reading]) -> None:
    _, text, read = told
    places = [text.index(f'<section id="{name}"') for name, _ in SECTIONS]
    assert places == sorted(places) and len(places) == text.count("<section ")
    assert [link[1:] for link in read.links if link[1:] in dict(SECTIONS)] == [name for name, _ in SECTIONS]


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Reading]:
    """The page of a study with an odd `about` and a failure."""
    folder = tmp_path_factory.mktemp("odd")
    made = make_study(
        folder,
        file=FILE.replace("Does masking help, and does the chain of teachers?", "'{{ 7 * 7 }} <b onmouseover=x>&amp;'"),
        without=lambda run, use: (run.variant, use.grade, run.seed) == ("direct", "3", 1),
        triples=9,
    )
    attempt = made.store.begin(made.key("direct", "3", 1), study="synthetic")
    attempt.end(AttemptState.FAILED, FailureKind.OUT_OF_MEMORY, MemoryError(f"asked for {EVIL}"), seconds=3.0)
    return page(made)


def test_failures_are_escaped_and_told_with_kind_and_traceback(odd: tuple[str, Reading]) -> None:
    text, read = odd
    assert EVIL not in text
    assert "failed (oom), seed 1: direct, grade 3" in read.text.replace(" ,", ",")
    assert f"MemoryError: asked for {EVIL}" in read.text
    assert "direct : seed 1: grade 3 failed (oom)" in read.text
    assert "38 of 39 stages are there" in read.text


def test_nuisance_settings_are_told_with_how_many_were_tried(tmp_path: Path) -> None:
    made = make_study(tmp_path, file=FILE + "roles: {nuisance: {optimiser.lr: [1.0e-5, 1.0e-4]}}\n", triples=9)
    _, read = page(made)
    assert "2 choices of optimiser.lr were tried for every variant" in read.text
    assert read.text.count("chosen") >= 4


def test_an_odd_about_is_text(odd: tuple[str, Reading]) -> None:
    assert "{{ 7 * 7 }} <b onmouseover=x>&amp;" in odd[1].text
