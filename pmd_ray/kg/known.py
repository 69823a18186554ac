"""Known triples as sorted keys: false negatives of a batch and filters of a ranking are array look-ups."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pmd_ray.kg.graph import Graph, Triples
from pmd_ray.spec.ragged import Ints, Ragged, offsets_of, spans

Numbers = NDArray[np.integer]
ROWS_AT_ONCE = 256
"""Queries whose known tails are held together: one of a popular relation has thousands."""


def with_inverses(triples: Triples, num_relations: int) -> Ints:
    """[2N, 3] the triples and their inverses (t, r + R, h), interleaved: both of a triple stand together."""
    doubled = np.empty((2 * len(triples), 3), dtype=np.int64)
    doubled[0::2] = triples
    doubled[1::2, 0] = triples[:, 2]
    doubled[1::2, 1] = triples[:, 1] + num_relations
    doubled[1::2, 2] = triples[:, 0]
    return doubled


class KnownTails:
    """For each query (head, relation, inverses included) its known tails."""

    def __init__(self, graph: Graph, *splits: Triples) -> None:
        self.num_entities = graph.num_entities
        self.num_queries = graph.num_entities * 2 * graph.num_relations
        self._relations = 2 * graph.num_relations
        doubled = with_inverses(np.concatenate(splits), graph.num_relations)
        keys = np.unique(self._query(doubled[:, 0], doubled[:, 1]) * self.num_entities + doubled[:, 2])
        self._keys = keys
        self._queries, counts = np.unique(keys // self.num_entities, return_counts=True)
        self._tails = Ragged((keys % self.num_entities).astype(np.int32), offsets_of(counts))

    def _query(self, heads: Numbers, relations: Numbers) -> Ints:
        return heads.astype(np.int64) * self._relations + relations

    def contains(self, heads: Numbers, relations: Numbers, tails: Numbers) -> NDArray[np.bool_]:
        """Whether each triple is known; the arguments are broadcast together."""
        wanted = self._query(heads, relations) * self.num_entities + tails
        place = np.minimum(np.searchsorted(self._keys, wanted), len(self._keys) - 1)
        found: NDArray[np.bool_] = np.equal(self._keys[place], wanted)
        return found

    def tails(self, heads: Numbers, relations: Numbers) -> Ragged:
        """The known tails of each query [N], rising."""
        wanted = self._query(heads, relations)
        place = np.minimum(np.searchsorted(self._queries, wanted), len(self._queries) - 1)
        lengths = np.where(self._queries[place] == wanted, self._tails.lengths[place], 0)
        return Ragged(self._tails.values[spans(self._tails.offsets[place], lengths)], offsets_of(lengths))


def true_negatives(known: KnownTails, queries: Ints, tails: Numbers) -> NDArray[np.bool_]:
    """[B, C] True where tail c is not known to answer query b: what may count as a negative.

    Args:
        known: Tails of the training split only; what the student may know while training.
        queries: [B, 3] heads, relations and answers.
        tails: [C] candidates.
    """
    unknown: NDArray[np.bool_] = tails[None, :] != queries[:, 2, None]
    order = np.argsort(tails, kind="stable")
    rising = tails[order]
    # Known tails are few, pairs of a query and a candidate are many: each known tail is looked up among the candidates.
    for start in range(0, len(queries), ROWS_AT_ONCE):
        part = queries[start : start + ROWS_AT_ONCE]
        answers = known.tails(part[:, 0], part[:, 1])
        first = np.searchsorted(rising, answers.values, side="left")
        found = np.searchsorted(rising, answers.values, side="right") - first
        rows = np.repeat(np.arange(start, start + len(part)), answers.lengths)
        unknown[np.repeat(rows, found), order[spans(first, found)]] = False
    return unknown
