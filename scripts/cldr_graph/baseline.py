"""Scores shallow baselines on a built folder: what a model must beat."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cldr_graph.names import plain, words
from cldr_graph.split import SPLITS


def read_rows(path: Path) -> list[list[str]]:
    return [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]


def trigrams(text: str) -> Iterator[str]:
    for word in words(plain(text)):
        for start in range(len(word)):
            yield f" {word} "[start : start + 3]


def trigram_matrix(texts: Sequence[str]) -> Any:
    """[E, G] unit rows: inverse-document-frequency weights of the letter trigrams of each text."""
    bags = [set(trigrams(text)) for text in texts]
    count = Counter(gram for bag in bags for gram in bag)
    column = {gram: number for number, gram in enumerate(sorted(count))}
    matrix = np.zeros((len(texts), len(column)))
    for row, bag in enumerate(bags):
        for gram in bag:
            matrix[row, column[gram]] = np.log(len(texts) / count[gram])
    return matrix / np.maximum(np.linalg.norm(matrix, axis=1, keepdims=True), 1e-12)


def baseline(folder: Path) -> dict[str, float]:
    """Filtered test MRR over both directions, ties as the mean rank, of scorers that learn next to nothing.

    `frequency`: how often the candidate answers this relation and direction in train; `letters`: cosine of the
    trigrams of the two names; `texts`: the same of names with descriptions; `+ frequency`: the sum with the logarithm
    of the first, answers of train only.
    """
    entities = read_rows(folder / "entities.tsv")
    index = {row[0]: number for number, row in enumerate(entities)}
    answers: dict[tuple[str, str, bool], list[int]] = defaultdict(list)
    frequency: dict[tuple[str, bool], Any] = defaultdict(lambda: np.zeros(len(entities)))
    for name in SPLITS:
        for head, relation, tail in read_rows(folder / f"{name}.tsv"):
            for query, answer, inverse in ((head, tail, False), (tail, head, True)):
                answers[query, relation, inverse].append(index[answer])
                frequency[relation, inverse][index[answer]] += name == "train"
    test = read_rows(folder / "test.tsv")
    asked = {entity: row for row, entity in enumerate(sorted({end for head, _, tail in test for end in (head, tail)}))}
    of_asked = [index[entity] for entity in asked]
    letters = trigram_matrix([row[1] for row in entities])
    texts = trigram_matrix([f"{row[1]} {row[2]}" for row in entities])
    alike = {"letters": letters[of_asked] @ letters.T, "texts": texts[of_asked] @ texts.T}  # each [queries, E]
    inverse_ranks: dict[str, list[float]] = defaultdict(list)
    for head, relation, tail in test:
        for query, answer, inverse in ((head, tail, False), (tail, head, True)):
            often = frequency[relation, inverse]
            # 1e9 away from an unseen answer: one of the wrong type never wins by its letters.
            seen = np.where(often > 0, 0.1 * np.log1p(often), -1e9)
            scores = {"frequency": often}
            scores |= {name: cosines[asked[query]] for name, cosines in alike.items()}
            scores |= {f"{name} + frequency": scores[name] + seen for name in alike}
            known = [other for other in answers[query, relation, inverse] if other != index[answer]]
            for name, score in scores.items():
                others = np.delete(score, [*known, index[answer]])
                mine = score[index[answer]]
                rank = 1 + np.sum(others > mine + 1e-9) + np.sum(np.abs(others - mine) <= 1e-9) / 2
                inverse_ranks[name].append(1 / float(rank))
    return {name: float(np.mean(values)) for name, values in inverse_ranks.items()}
