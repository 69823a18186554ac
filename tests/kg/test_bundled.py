"""The bundled CLDR graph: well formed, free of leaks, and exactly what the script builds."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.whole

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "pmd_ray" / "kg" / "bundled" / "cldr"
FILES = {"entities.tsv", "relations.tsv", "train.tsv", "valid.tsv", "test.tsv", "SOURCE.md"}
SPLITS = ("train", "valid", "test")


def rows(name: str) -> list[list[str]]:
    return [line.split("\t") for line in (FOLDER / name).read_text(encoding="utf-8").splitlines()]


def all_triples() -> list[list[str]]:
    return [triple for name in SPLITS for triple in rows(f"{name}.tsv")]


def partners() -> Iterator[tuple[str, str]]:
    """(entity, entity it shares a triple with), in both directions."""
    for head, _, tail in all_triples():
        yield head, tail
        yield tail, head


@pytest.fixture(scope="module")
def babel() -> None:
    """For tests that import the builder, the package `scripts/cldr_graph`."""
    pytest.importorskip("babel", reason="the builder needs Babel (the dev extra)")


@pytest.fixture(scope="module")
def read(babel: None) -> tuple[dict[str, Any], list[Any]]:
    """Entities and triples as the builder reads them from Babel, once: seconds."""
    from cldr_graph.entities import read_graph

    return read_graph()


def test_files_and_columns() -> None:
    assert {path.name for path in FOLDER.iterdir()} == FILES
    assert {len(row) for row in rows("entities.tsv")} == {3}
    assert {len(row) for row in rows("relations.tsv")} == {2}
    assert {len(row) for row in all_triples()} == {3}


def test_sizes() -> None:
    assert 1000 <= len(rows("entities.tsv")) <= 1900
    assert 3000 <= len(all_triples()) <= 8000
    assert len(rows("valid.tsv")) >= 300
    assert len(rows("test.tsv")) >= 300


def test_texts_are_clean() -> None:
    for name in FILES:
        text = (FOLDER / name).read_text(encoding="utf-8")
        assert text == unicodedata.normalize("NFC", text)
        assert {char for char in text if unicodedata.category(char) in ("Cc", "Cf")} <= {"\n", "\t"}
    fields = [field for row in [*rows("entities.tsv"), *rows("relations.tsv")] for field in row]
    assert all(field and field == field.strip() and "  " not in field for field in fields)


def test_ids_and_names_are_unique() -> None:
    ids, names, _ = zip(*rows("entities.tsv"), strict=True)
    assert len(set(ids)) == len(ids)
    assert [name for name, count in Counter(map(str.casefold, names)).items() if count > 1] == []


def test_every_id_is_known_and_used() -> None:
    triples = all_triples()
    assert {end for head, _, tail in triples for end in (head, tail)} == {row[0] for row in rows("entities.tsv")}
    assert {relation for _, relation, _ in triples} == {row[0] for row in rows("relations.tsv")}


def test_no_triple_twice_and_no_pair_in_two_splits() -> None:
    triples = [tuple(triple) for triple in all_triples()]
    assert len(set(triples)) == len(triples)
    pairs = {name: {frozenset((head, tail)) for head, _, tail in rows(f"{name}.tsv")} for name in SPLITS}
    assert not pairs["train"] & (pairs["valid"] | pairs["test"])
    assert not pairs["valid"] & pairs["test"]


def test_held_out_parts_are_seen_in_train() -> None:
    seen = {part for triple in rows("train.tsv") for part in triple}
    assert {part for name in ("valid", "test") for triple in rows(f"{name}.tsv") for part in triple} <= seen


def test_no_relation_is_symmetric_or_the_inverse_of_another() -> None:
    pairs: dict[str, set[tuple[str, str]]] = {}
    for head, relation, tail in all_triples():
        pairs.setdefault(relation, set()).add((head, tail))
    for one in pairs:
        for other in pairs:
            shared = len(pairs[one] & {(tail, head) for head, tail in pairs[other]})
            # A main territory is often where a language is official; an inverse would overlap whole.
            assert shared <= 0.8 * min(len(pairs[one]), len(pairs[other])), (one, other, shared)


def test_no_description_names_a_partner() -> None:
    names = {entity: name for entity, name, _ in rows("entities.tsv")}
    texts = {entity: text for entity, _, text in rows("entities.tsv")}
    leaks = [
        (entity, other)
        for entity, other in partners()
        if names[other].casefold() in texts[entity].casefold()  # quick; the words only where it may be
        and re.search(rf"(?<!\w){re.escape(names[other])}(?!\w)", texts[entity], re.IGNORECASE)
    ]
    assert leaks == []


def test_description_lengths() -> None:
    lengths = sorted(len(text.split()) for _, _, text in rows("entities.tsv"))
    assert 10 <= sum(lengths) / len(lengths) <= 20
    assert lengths[0] >= 5
    assert lengths[-1] <= 28


def test_no_description_names_a_partner_in_another_language(read: tuple[dict[str, Any], list[Any]]) -> None:
    from cldr_graph.describe import forbidden_names, leaks
    from cldr_graph.source_note import versions

    recorded = versions()
    if f"Built from: {recorded}\n" not in (FOLDER / "SOURCE.md").read_text(encoding="utf-8"):
        pytest.skip(f"the committed graph was built from other data than the installed {recorded}")
    forbidden = forbidden_names(*read)
    assert "deutschland" in forbidden["language:de"]
    assert {
        entity: found for entity, _, text in rows("entities.tsv") if (found := leaks(text, forbidden[entity]))
    } == {}


@pytest.mark.usefixtures("babel")
def test_the_leak_check_finds_whole_words_only() -> None:
    from cldr_graph.describe import describe, leaks
    from cldr_graph.entities import Entity

    assert leaks("also called Côte d’IVOIRE; code x", {"côte d ivoire"}) == ["côte d ivoire"]
    assert leaks("also called Nigeria", {"niger"}) == []
    entity = Entity(id="language:x", name="X", core="X", facts=("spoken in Peru", "code x"), variants=("Peru-x",))
    assert "peru" not in describe(entity, {"peru"}).casefold()


@pytest.fixture(scope="module")
def measured(babel: None) -> dict[str, float]:
    """Baselines on the committed graph."""
    from cldr_graph.baseline import baseline

    return baseline(FOLDER)


def test_script_builds_the_committed_files(
    read: tuple[dict[str, Any], list[Any]],
    measured: dict[str, float],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from cldr_graph import folder
    from cldr_graph.source_note import versions

    source = (FOLDER / "SOURCE.md").read_text(encoding="utf-8")
    if f"Built from: {versions()}\n" not in source:
        pytest.skip(f"the committed graph was built from other data than the installed {versions()}")
    monkeypatch.setattr(folder, "read_graph", lambda: read)
    monkeypatch.setattr(folder, "baseline", lambda built: measured)  # of equal files, as the loop below makes sure
    folder.build(tmp_path)
    for name in FILES:
        assert (tmp_path / name).read_bytes() == (FOLDER / name).read_bytes(), name


def test_recorded_baselines_are_measured(measured: dict[str, float]) -> None:
    source = (FOLDER / "SOURCE.md").read_text(encoding="utf-8")
    recorded = {
        name: float(score) for name, score in re.findall(r"^\| ([a-z+ ]+) \| (0\.\d{3}) \|$", source, re.MULTILINE)
    }
    assert recorded.keys() == measured.keys()
    assert recorded == pytest.approx(measured, abs=0.0011)
    assert max(measured.values()) < 0.4, "a graph that needs no model"
    assert measured["frequency"] > 0.05


@pytest.mark.usefixtures("babel")
def test_baseline_ranks_by_hand(tmp_path: Path) -> None:
    """Three entities; 'often' ranks the one answer seen in train first, among the two that the filter leaves."""
    from cldr_graph.baseline import baseline

    files = {
        "entities.tsv": "a\tAlpha\tx\nb\tBeta\ty\nc\tGamma\tz\n",
        "train.tsv": "a\tr\tb\nc\tr\tb\n",
        "valid.tsv": "",
        "test.tsv": "b\tr\tb\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    # Tail query (b, r, ?): b was seen twice, rank 1. Head query (?, r, b): a and c are known, b alone is left: rank 1.
    assert baseline(tmp_path)["frequency"] == 1.0
