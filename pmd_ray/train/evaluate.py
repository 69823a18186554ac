"""Ranks a model on a split of a graph: every entity and query encoded once, on clean text."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from pmd_ray.kg.graph import Graph, Split
from pmd_ray.kg.known import KnownTails, with_inverses
from pmd_ray.kg.texts import Texts
from pmd_ray.model.bi_encoder import BiEncoder
from pmd_ray.model.encode import encode, pack
from pmd_ray.model.ranking import Ranks, rank_queries
from pmd_ray.spec.chunks import RANKED_FROM_FILE
from pmd_ray.spec.errors import NotFiniteError
from pmd_ray.spec.evaluation import EvaluationConfig
from pmd_ray.spec.ragged import Ints, TokenRows
from pmd_ray.spec.results import Metrics, RankingReport
from pmd_ray.spec.streams import generator
from pmd_ray.train.precision import Autocast
from pmd_ray.train.ranks_file import RankRows
from pmd_ray.train.report import report_of, summarise
from pmd_ray.train.rerank import rerank_bonus
from pmd_ray.train.vectors import empty_table, lies_in_file
from pmd_ray.train.workers import Workers

Tick = Callable[[int, int], None]
CHUNK = 4096
"""Texts encoded between two ticks."""
WATCHED = 256
"""Validation triples, at most, of which every epoch keeps the reciprocal ranks."""


@dataclass(frozen=True)
class Ranked:
    """The ranks of a split's queries: triple i is rows 2i (forward) and 2i + 1 (backward)."""

    split: str
    queries: Ints
    """[Q, 3] head, relation (inverses included), answer."""
    plain: Ranks
    reranked: Ranks | None

    def mrr(self) -> float:
        """Mean reciprocal rank, not re-ranked."""
        return self.metrics().mrr

    def metrics(self) -> Metrics:
        """Over all queries, not re-ranked."""
        return summarise(self.plain.ranks)

    def reciprocal_ranks(self, *, of: int, at_most: int = WATCHED) -> tuple[float, ...]:
        """Of the same triples for every model, epoch, seed and stage, in their order, rounded to 5 decimals.

        Args:
            of: Triples of the split, of which these may be a fixed sample.
            at_most: Triples to look at; fewer where fewer were ranked.

        Returns:
            The mean of a triple's two directions, in (0, 1].
        """
        ranked = len(self.queries) // 2
        places = np.searchsorted(sampled(of, ranked), sampled(of, min(at_most, ranked)))
        both = (1.0 / self.plain.ranks).reshape(-1, 2).mean(axis=1)
        return tuple(round(float(value), 5) for value in both[places])

    def report(self, graph: Graph) -> RankingReport:
        """Metrics by direction and relation."""
        reranked = None if self.reranked is None else self.reranked.ranks
        return report_of(self.plain.ranks, self.queries[:, 1], graph.relation_ids, split=self.split, reranked=reranked)

    def rows(self) -> RankRows:
        """What the ranks file holds."""
        return RankRows(
            queries=self.queries,
            ranks=self.plain.ranks,
            scores=self.plain.scores,
            top_ids=self.plain.top_ids,
            top_scores=self.plain.top_scores,
            reranked=None if self.reranked is None else self.reranked.ranks,
        )


def no_tick(done: int, total: int) -> None:
    """Tell nobody."""


def encode_all(
    model: BiEncoder,
    tower: str,
    rows_of: Callable[[Ints], TokenRows],
    count: int,
    *,
    workers: Workers,
    autocast: Autocast = nullcontext,
    tick: Tick = no_tick,
) -> Tensor:
    """[count, D] unit vectors of `count` texts, the work shared by all workers; each worker gets all of them.

    Raises:
        StorageError: a table that must lie in a file finds no room (`vectors.empty_table`).
    """
    mine = np.array_split(np.arange(count), workers.size)[workers.rank]
    table_ND = empty_table(len(mine), model.width, workers)
    for start in range(0, len(mine), CHUNK):
        part = mine[start : start + CHUNK]
        packed = pack(rows_of(part), device=workers.device)
        side = encode(getattr(model, tower), packed, pooling=model.pooling, autocast=autocast)
        table_ND[start : start + len(part)] = side.pooled_UD
        tick(min(count, (start + CHUNK) * workers.size), count)
    return workers.gather(table_ND)


def rank_split(
    model: BiEncoder,
    texts: Texts,
    split: Split,
    *,
    evaluation: EvaluationConfig,
    workers: Workers,
    autocast: Autocast = nullcontext,
    sample: int | None = None,
    tick: Tick = no_tick,
) -> Ranked:
    """Filtered ranks of both directions of every triple of a split (or of a fixed sample of them).

    Filtering uses all three splits and nothing else (the released filter is every file of a folder: method notes, C23).
    Dropout is off (it is on in the released validation, were it called: C20). Call it on every worker; each gets the
    whole result.

    Raises:
        NotFiniteError: the model's vectors are not finite.
    """
    graph = texts.graph
    triples = graph.triples(split)
    queries = with_inverses(triples[sampled(len(triples), sample)], graph.num_relations)
    heads, relations, answers = queries.T
    was_training = model.training
    model.eval()
    # Many triples ask the same query: encode it once.
    asked, row = np.unique(heads * 2 * graph.num_relations + relations, return_inverse=True)
    ask_heads, ask_relations = asked // (2 * graph.num_relations), asked % (2 * graph.num_relations)
    total = graph.num_entities + len(asked)
    entities_ED = encode_all(
        model,
        "tail",
        texts.entity_rows,
        graph.num_entities,
        workers=workers,
        autocast=autocast,
        tick=lambda done, _: tick(done, total),
    )
    asked_AD = encode_all(
        model,
        "hr",
        lambda rows: texts.query_rows(ask_heads[rows], ask_relations[rows]),
        len(asked),
        workers=workers,
        autocast=autocast,
        tick=lambda done, _: tick(graph.num_entities + done, total),
    )
    model.train(was_training)
    _check_finite(entities_ED, asked_AD)
    asked_Q = row.reshape(-1)
    # Each worker ranks some of the queries, those that ask the same side by side.
    shares = np.array_split(np.argsort(asked_Q, kind="stable"), workers.size)
    mine = shares[workers.rank]
    in_file = lies_in_file(graph.num_entities, model.width, workers)
    chunk_queries, chunk_entities = RANKED_FROM_FILE if in_file else (None, None)
    rank = functools.partial(
        rank_queries,
        asked_AD,
        entities_ED,
        answers[mine],
        known_of(graph).tails(heads[mine], relations[mine]),
        asked_Q=asked_Q[mine],
        ties=evaluation.ties,
        chunk_queries=chunk_queries,
        chunk_entities=chunk_entities,
    )
    plain, reranked = _of_all(rank(), shares, workers), None
    if evaluation.rerank is not None:
        bonus = rerank_bonus(graph, heads[mine], evaluation.rerank.hops)
        reranked = _of_all(rank(bonus=bonus, bonus_weight=evaluation.rerank.weight), shares, workers)
    return Ranked(split, queries, plain, reranked)


def _of_all(ranks: Ranks, shares: Sequence[Ints], workers: Workers) -> Ranks:
    """Every worker's ranks, in the order of the queries.

    Args:
        ranks: This worker's, in the order of its share.
        shares: Which queries each worker has.
    """
    lengths, back = [len(share) for share in shares], np.argsort(np.concatenate(shares))

    def gathered(column: np.ndarray) -> np.ndarray:
        whole: np.ndarray = workers.gather(torch.as_tensor(column).to(workers.device), lengths=lengths).cpu().numpy()
        return whole[back]

    return Ranks(*(gathered(getattr(ranks, field.name)) for field in fields(Ranks)))


def _check_finite(*vectors: Tensor) -> None:
    parts = (part for some in vectors for part in torch.split(some, 1 << 16))
    if not all(bool(torch.isfinite(part).all()) for part in parts):
        raise NotFiniteError("the model's vectors hold NaN or infinity: its weights have left the finite numbers")


def known_of(graph: Graph) -> KnownTails:
    """Known answers of all three splits: the filter of a ranking."""
    return KnownTails(graph, graph.train, graph.valid, graph.test)


def sampled(count: int, sample: int | None) -> Ints:
    """Numbers of `sample` of `count` triples, sorted, the same for every model, epoch and seed; all for None.

    A smaller sample lies within a larger one.
    """
    if sample is None or sample >= count:
        return np.arange(count)
    return np.sort(generator(0, "valid sample").permutation(count)[:sample])
