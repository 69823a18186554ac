"""Metrics from ranks, and which queries the re-ranking lifts."""

from __future__ import annotations

import json
from collections import deque
from pathlib import Path

import numpy as np
import pytest

from pmd_ray.kg.load import load_graph
from pmd_ray.spec.results import Metrics, RankingReport
from pmd_ray.train.report import report_of, summarise
from pmd_ray.train.rerank import rerank_bonus


def test_summarise() -> None:
    found = summarise(np.array([1.0, 2.0, 3.5, 10.0, 100.0]))
    assert found.queries == 5
    assert found.mrr == pytest.approx((1 + 1 / 2 + 1 / 3.5 + 1 / 10 + 1 / 100) / 5, abs=1e-15)
    assert (found.hits1, found.hits3, found.hits10) == (0.2, 0.4, 0.8)
    assert found.mr == pytest.approx(23.3)


def test_a_tie_for_the_first_place_is_no_hit() -> None:
    assert summarise(np.array([1.5])).hits1 == 0.0


def test_no_rank_has_no_metrics() -> None:
    with pytest.raises(ValueError, match="at least one"):
        summarise(np.empty(0))


def test_metrics_by_alias_and_by_name() -> None:
    by_name = Metrics(queries=1, mrr=1.0, hits1=0.1, hits3=0.3, hits10=1.0, mr=1.0)
    assert json.loads(by_name.model_dump_json())["hits@1"] == 0.1
    assert (
        Metrics.model_validate({"queries": 1, "mrr": 1, "hits@1": 0.1, "hits@3": 0.3, "hits@10": 1, "mr": 1}) == by_name
    )


def test_report_by_direction_and_relation() -> None:
    ids = ("r0", "r1", "r2")
    relations = np.array([0, 3, 2, 5])
    ranks = np.array([1.0, 2.0, 4.0, 20.0])
    report = report_of(ranks, relations, ids, split="test", reranked=np.array([1.0, 1.0, 2.0, 4.0]))
    assert report.split == "test"
    assert report.all.mrr == pytest.approx((1 + 1 / 2 + 1 / 4 + 1 / 20) / 4)
    assert report.forward.mr == 2.5
    assert report.backward.mr == 11
    assert {name: part.mr for name, part in report.by_relation.items()} == {"r0": 1.5, "r2": 12}
    assert report.reranked is not None
    assert (report.reranked.all.mr, report.reranked.forward.mr, report.reranked.backward.mr) == (2, 1.5, 2.5)
    assert RankingReport.model_validate_json(report.model_dump_json(by_alias=True)) == report
    assert report_of(ranks, relations, ids, split="test").reranked is None
    with pytest.raises(ValueError, match="as many"):
        report_of(ranks, relations[:3], ids, split="test")


@pytest.mark.parametrize("hops", [1, 2, 5])
def test_bonus_is_for_entities_within_the_hops(shared_data: Path, hops: int) -> None:
    graph = load_graph(shared_data / "WN18RR_v1")
    edges: dict[int, set[int]] = {}
    for head, _, tail in graph.train.tolist():
        edges.setdefault(head, set()).add(tail)
        edges.setdefault(tail, set()).add(head)
    heads = np.concatenate([graph.test[:40, 0], graph.test[:40, 2], graph.test[:3, 0]])
    bonus = rerank_bonus(graph, heads, hops)
    assert len(bonus) == 83
    rows = np.array([82, 0, 5, 41, 0, *range(83)])
    found = bonus.take(rows)
    for place, row in enumerate(rows):
        far = {int(heads[row]): 0}
        queue = deque(far)
        while queue:
            entity = queue.popleft()
            for other in edges.get(entity, ()):
                if other not in far and far[entity] < hops:
                    far[other] = far[entity] + 1
                    queue.append(other)
        assert found[place].tolist() == sorted(far)
