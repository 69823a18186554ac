"""Trains a shipped chain over several seeds and prints each grade's test metrics, mean and spread.

    python benchmarks/quality.py umls_names --data FOLDER --seeds 0 1 2 --out runs/quality
    python benchmarks/quality.py umls_released --data FOLDER --seeds 0 1 2 --out runs/quality

Runs that are in --out already are read, not trained again.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path

from pmd_ray import distil
from pmd_ray.spec.results import ChainResult
from pmd_ray.train.events import EpochDone, Event


def show(event: Event) -> None:
    """A line an epoch, on standard error."""
    if isinstance(event, EpochDone):
        print(
            f"  {event.grade}: epoch {event.epoch}, validation MRR {event.valid_mrr:.3f}", file=sys.stderr, flush=True
        )


def spread(values: list[float]) -> str:
    """Mean and sample standard deviation."""
    deviation = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else " (1 seed)"
    return f"{statistics.mean(values):.3f}{deviation}"


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chain")
    parser.add_argument("--data", required=True, help="the graph's folder or name")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    parser.add_argument("--out", type=Path, default=Path("runs/quality"))
    given = parser.parse_args()
    results: list[ChainResult] = []
    for seed in given.seeds:
        print(f"{given.chain}, seed {seed}", file=sys.stderr, flush=True)
        overrides = [f"dataset.source={given.data}", *given.overrides, f"seed={seed}"]
        results.append(distil(given.chain, given.out / f"{given.chain}_{seed}", overrides=overrides, listen=show))
    print(f"{given.chain} on {results[0].dataset}, seeds {' '.join(map(str, given.seeds))}")
    for place, grade in enumerate(results[0].grades):
        tests = [result.grades[place].test for result in results]
        reports = [test.all for test in tests if test is not None]
        each = " ".join(f"{report.mrr:.3f}" for report in reports)
        cpu = statistics.mean(result.grades[place].cpu_seconds for result in results)
        print(
            f"  {grade.name} ({grade.layers} layers): MRR {spread([r.mrr for r in reports])} [{each}], "
            f"Hits@1 {spread([r.hits1 for r in reports])}, Hits@10 {spread([r.hits10 for r in reports])}, "
            f"{cpu:.0f} CPU s a seed"
        )


if __name__ == "__main__":
    main()
