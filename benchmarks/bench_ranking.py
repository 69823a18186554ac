"""Filtered ranking against its limit, the matrix product of queries and entities alone.

    python benchmarks/bench_ranking.py [--queries 6268] [--entities 40943] [--width 384] [--repeats 3]

Prints the medians of interleaved repetitions in CPU seconds, and their ratio. Defaults are WN18RR's test split.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from torch.nn.functional import normalize

from pmd_ray.model.ranking import rank_queries
from pmd_ray.spec.ragged import Ragged


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU seconds of one call, all threads."""
    begun = time.process_time()
    work()
    return time.process_time() - begun


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("queries", 6268), ("entities", 40943), ("width", 384), ("repeats", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    entities = normalize(torch.randn(given.entities, given.width) + 0.6, dim=1)
    answers = random.integers(0, given.entities, given.queries)
    noise = normalize(torch.randn(given.queries, given.width), dim=1) * torch.rand(given.queries, 1) * 8
    queries = normalize(entities[answers] + noise, dim=1)
    known = Ragged.of(
        [random.integers(0, given.entities, random.integers(1, 20)).tolist() for _ in range(given.queries)]
    )
    block = torch.empty(512, given.entities)

    def product() -> None:
        for start in range(0, given.queries, 512):
            part = queries[start : start + 512]
            torch.mm(part, entities.t(), out=block[: len(part)])

    def ranking() -> None:
        rank_queries(queries, entities, answers, known)

    times: dict[str, list[float]] = {"product": [], "ranking": []}
    for _ in range(given.repeats):
        times["product"].append(cpu_seconds(product))
        times["ranking"].append(cpu_seconds(ranking))
    limit, ours = statistics.median(times["product"]), statistics.median(times["ranking"])
    threads = torch.get_num_threads()
    print(f"queries {given.queries:,}, entities {given.entities:,}, width {given.width}, {threads} threads")
    print(f"product alone {limit:.2f} CPU s, ranking {ours:.2f} CPU s, ratio {ours / limit:.2f}")


if __name__ == "__main__":
    main()
