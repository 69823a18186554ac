"""Do the intervals cover and are the p-values valid? Measured on synthetic values whose truth is known.

    python -m benchmarks.statistics_check [--repeats 2000] [--triples 200] [--seed 0] [--json]

Normal values follow the model of `pmd_ray.stats.variance` with a rest of sd 1. Ranks come from it on the scale of
log ranks (1 + floor(exp(x)), two queries a triple, triples of unequal difficulty that both variants share), so their
reciprocals are skewed and bounded and Hits@1 is 0, 0.5 or 1. Exits with 1 when a p-value is not valid, or an interval
over 3 seeds or more covers in less than 93 %.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from math import log, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from pmd_ray.stats.checked import Floats
from pmd_ray.stats.interval import squared_half_width
from pmd_ray.stats.mcnemar import mcnemar
from pmd_ray.stats.permutation import permuted
from pmd_ray.stats.sign_flip import sign_flips
from pmd_ray.stats.variance import MeanVariance, crossed
from pmd_ray.stats.words import Alternative

# Shapes: R repeats, S seeds, T triples, Q the 2 queries of a triple, U levels.
SEEDS = (2, 3, 5, 10)
SPREADS = {"normal": ((0.0, 0.07, 0.5), (0.0, 0.5, 5.0)), "ranks": ((0.0, 0.05, 0.5), (0.0, 0.3, 2.0))}
"""Standard deviations (of seeds, of triples) beside a rest of 1: none, small, large."""
DIFFICULTY, DIRECTIONS = 2.0, (-0.3, 0.9)
"""Log ranks: their sd over triples, shared by both variants; their means forward and backward."""
LEVELS_U = np.unique(np.concatenate([np.arange(1, 129) / 128, np.arange(1, 65) / 1024]))
"""Where P(p <= u) is compared with u: all values that the exact test over 2, 3 and 5 seeds can take, and more."""
LEAST_COVERAGE = 0.93
AT_ONCE = 2_000_000
"""Values held in memory at a time."""
TABLE = "p of the table"
ALONE = ("sign-flip", "interval", "permutation", "McNemar")
Bools = NDArray[np.bool_]


@dataclass
class Cell:
    """What one setting has shown, counted over its repeats."""

    values: str
    sd_seed: float
    sd_triple: float
    seeds: int
    repeats: int = 0
    covered: int = 0
    below_low: int = 0
    """Truth under the lower end: a false claim of non-inferiority."""
    small: dict[str, Floats] = field(default_factory=dict)
    """For each test and alternative, how many p <= u [U]."""

    @property
    def coverage(self) -> float:
        return self.covered / self.repeats

    def has(self, test: str) -> bool:
        """Whether the test was run."""
        return f"{test} {Alternative.TWO_SIDED}" in self.small

    def excess(self, test: str) -> float:
        """Largest P(p <= u) - u over all levels and both alternatives."""
        return max(
            float((n / self.repeats - LEVELS_U).max()) for name, n in self.small.items() if name.startswith(test)
        )

    def size(self, test: str, level: float = 0.05) -> float:
        """P(p <= level), two-sided, at the nearest level below."""
        place = int(np.searchsorted(LEVELS_U, level, side="right")) - 1
        return float(self.small[f"{test} {Alternative.TWO_SIDED}"][place] / self.repeats)

    def count(self, table_RST: Floats, truth: float, *, tested: bool) -> None:
        """Add repeats of a table whose mean is `truth`; `tested`: the truth is 0 and the tests apply."""
        found = crossed(table_RST)
        off_R, half_R = found.mean - truth, np.sqrt(squared_half_width(found, 0.05))
        self.repeats += len(table_RST)
        self.covered += int((np.abs(off_R) <= half_R).sum())
        self.below_low += int((off_R > half_R).sum())
        if tested:
            self._count_tests(table_RST, found)

    def add(self, test: str, alternative: Alternative, small_UR: Bools) -> None:
        """Count which p are at or below each level."""
        name = f"{test} {alternative}"
        self.small[name] = self.small.get(name, np.zeros(len(LEVELS_U))) + small_UR.sum(axis=1)

    def _count_tests(self, table_RST: Floats, found: MeanVariance) -> None:
        for alternative in (Alternative.TWO_SIDED, Alternative.GREATER):
            flips_UR = at_or_below(sign_flips(table_RST.mean(axis=2), alternative))
            interval_UR = interval_at_or_below(found, alternative)
            triples_R = permuted(table_RST.mean(axis=1), alternative, draws=499, seed=self.repeats)
            self.add("sign-flip", alternative, flips_UR)
            self.add("interval", alternative, interval_UR)
            self.add(TABLE, alternative, flips_UR & interval_UR)
            self.add("permutation", alternative, at_or_below(triples_R))


def at_or_below(p_R: Floats) -> Bools:
    """[U, R]"""
    return p_R[None] <= LEVELS_U[:, None] + 1e-12


def interval_at_or_below(found: MeanVariance, alternative: Alternative) -> Bools:
    """[U, R]: `interval.interval_p` <= u, asked of the interval itself, without solving for p."""
    sides = 2 if alternative is Alternative.TWO_SIDED else 1
    rows = []
    for u in LEVELS_U:
        outside = min(1.0, 2 * u / sides)
        away = (found.mean**2 >= squared_half_width(found, outside)) & (found.mean != 0)
        rows.append(np.full_like(away, True) if u == 1 else away if sides == 2 else away & (found.mean > 0))
    return np.stack(rows)


def normal_table(random: np.random.Generator, shape: tuple[int, int, int], sd_seed: float, sd_triple: float) -> Floats:
    """[R, S, T] of the model, mean 0."""
    R, S, T = shape
    seed = sd_seed * random.standard_normal((R, S, 1))
    return seed + sd_triple * random.standard_normal((R, 1, T)) + random.standard_normal(shape)


def ranks_of_two(
    random: np.random.Generator, shape: tuple[int, int, int], sd_seed: float, sd_triple: float
) -> tuple[Floats, Floats]:
    """Ranks [R, S, T, Q] of two variants that are alike: their difference has mean 0 and a symmetric distribution."""
    R, S, T = shape
    shared = DIFFICULTY * random.standard_normal((R, 1, T, 1)) + np.array(DIRECTIONS)

    def one() -> Floats:
        seed = sd_seed * random.standard_normal((R, S, 1, 1))
        own = sd_triple * random.standard_normal((R, 1, T, 1))
        return np.asarray(1 + np.floor(np.exp(shared + seed + own + random.standard_normal((R, S, T, 2)))))

    return one(), one()


@lru_cache
def truths(sd_seed: float, sd_triple: float) -> tuple[float, float]:
    """MRR and Hits@1 of `ranks_of_two` over all seeds and triples."""
    spread = sqrt(DIFFICULTY**2 + sd_seed**2 + sd_triple**2 + 1)
    hits, mrr = 0.0, 0.0
    for centre in DIRECTIONS:
        below = [0.0, *(NormalDist(centre, spread).cdf(log(k)) for k in range(1, 2000))]
        hits += below[1] / 2
        mrr += sum((high - low) / rank for rank, (low, high) in enumerate(pairwise(below), 1)) / 2
    return mrr, hits


def shapes(repeats: int, seeds: int, triples: int) -> Iterator[tuple[int, int, int]]:
    """All repeats in pieces."""
    size = max(1, AT_ONCE // (4 * seeds * triples))
    yield from ((min(size, repeats - start), seeds, triples) for start in range(0, repeats, size))


def normal_cell(random: np.random.Generator, sds: tuple[float, float], seeds: int, repeats: int, triples: int) -> Cell:
    """Differences of the model."""
    cell = Cell("normal, difference", *sds, seeds)
    for shape in shapes(repeats, seeds, triples):
        cell.count(normal_table(random, shape, *sds), 0.0, tested=True)
    return cell


def rank_cells(
    random: np.random.Generator, sds: tuple[float, float], seeds: int, repeats: int, triples: int
) -> list[Cell]:
    """MRR and Hits@1 of one variant and of the difference of two."""
    names = ("MRR", "MRR, difference", "Hits@1", "Hits@1, difference")
    mrr, mrr_apart, hits, hits_apart = cells = [Cell(name, *sds, seeds) for name in names]
    true_mrr, true_hits = truths(*sds)
    for shape in shapes(repeats, seeds, triples):
        a, b = ranks_of_two(random, shape, *sds)
        for one, apart, truth, of_a, of_b in (
            (mrr, mrr_apart, true_mrr, 1 / a, 1 / b),
            (hits, hits_apart, true_hits, a == 1, b == 1),
        ):
            one.count(of_a.mean(axis=3), truth, tested=False)
            apart.count(of_a.mean(axis=3) - of_b.mean(axis=3), 0.0, tested=True)
        for alternative in (Alternative.TWO_SIDED, Alternative.GREATER):
            pairs = zip(a[:, 0] == 1, b[:, 0] == 1, strict=True)
            p_R = np.array([mcnemar(x.ravel(), y.ravel(), alternative) for x, y in pairs])
            hits_apart.add("McNemar", alternative, at_or_below(p_R))
    return cells


def all_cells(repeats: int, triples: int, seed: int) -> list[Cell]:
    """Every setting of the table."""
    cells: list[Cell] = []
    for kind, (of_seeds, of_triples) in enumerate(SPREADS.values()):
        settings = [(a, b, seeds) for a in of_seeds for b in of_triples for seeds in SEEDS]
        for place, (a, b, seeds) in enumerate(settings):
            random = np.random.default_rng([seed, kind, place])
            if kind == 0:
                cells.append(normal_cell(random, (a, b), seeds, repeats, triples))
            else:
                cells.extend(rank_cells(random, (a, b), seeds, repeats, triples))
    return cells


def allowance(cells: list[Cell]) -> float:
    """What chance alone adds to the largest excess of valid p-values, in 1 of 100 runs at most (Massart 1990)."""
    looks = sum(len(cell.small) for cell in cells)
    return sqrt(log(looks / 0.01) / (2 * cells[0].repeats))


def failures(cells: list[Cell]) -> list[str]:
    """What does not hold."""
    slack = allowance(cells)
    found = []
    for cell in cells:
        where = f"{cell.values}, sd {cell.sd_seed} and {cell.sd_triple}, {cell.seeds} seeds"
        if cell.seeds >= 3 and cell.coverage < LEAST_COVERAGE:
            found.append(f"{where}: coverage {cell.coverage:.3f} is below {LEAST_COVERAGE}")
        if cell.small and cell.excess(TABLE) > slack:
            found.append(f"{where}: P(p <= u) exceeds u by {cell.excess(TABLE):.3f}, chance allows {slack:.3f}")
    return found


def rows_of(cells: list[Cell]) -> list[list[Cell]]:
    """Cells by setting, each with the numbers of seeds in order."""
    rows: dict[tuple[str, float, float], list[Cell]] = {}
    for cell in cells:
        rows.setdefault((cell.values, cell.sd_seed, cell.sd_triple), []).append(cell)
    places = list(dict.fromkeys(cell.values for cell in cells))
    return sorted(rows.values(), key=lambda row: places.index(row[0].values))


def table(head: list[str], rows: list[list[str]]) -> str:
    """Markdown."""
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows])


def table_of(rows: list[list[Cell]], head: list[str], figures: Callable[[list[Cell]], list[str]]) -> str:
    """A line for each setting."""
    lines = [[row[0].values, f"{row[0].sd_seed:g}", f"{row[0].sd_triple:g}", *figures(row)] for row in rows]
    return table(["values", "seed sd", "triple sd", *head], lines)


def report(cells: list[Cell], triples: int) -> str:
    """All that was measured, for people."""
    rows = rows_of(cells)
    tested = [row for row in rows if row[0].small]
    counts = [f"{count} seeds" for count in SEEDS]
    twice = [f"{figure}, {count}" for figure in ("size", "excess") for count in counts]
    parts = [
        f"{cells[0].repeats:,} repeats of {triples} triples; chance allows an excess of {allowance(cells):.3f}.",
        "Over all settings",
        table(["", *counts], summary(cells)),
        "Coverage of the 95 % intervals",
        table_of(rows, counts, lambda row: [f"{cell.coverage:.3f}" for cell in row]),
        "The p of the table: P(p <= 0.05) two-sided, and the largest P(p <= u) - u of both alternatives",
        table_of(
            tested,
            twice,
            lambda row: [f"{c.size(TABLE):.3f}" for c in row] + [f"{c.excess(TABLE):.3f}" for c in row],
        ),
        "Each test alone, 10 seeds (McNemar: the first of them): P(p <= 0.05) two-sided",
        table_of(
            tested,
            list(ALONE),
            lambda row: [f"{row[-1].size(test):.3f}" if row[-1].has(test) else "" for test in ALONE],
        ),
    ]
    return "\n\n".join(parts)


def summary(cells: list[Cell]) -> list[list[str]]:
    """The worst of all settings for each number of seeds."""
    by_seeds = [[cell for cell in cells if cell.seeds == count] for count in SEEDS]
    tested = [[cell for cell in some if cell.small] for some in by_seeds]
    return [
        ["lowest coverage", *(f"{min(cell.coverage for cell in some):.3f}" for some in by_seeds)],
        ["mean coverage", *(f"{sum(cell.coverage for cell in some) / len(some):.3f}" for some in by_seeds)],
        [
            "lower 97.5 % bound missed at most",
            *(f"{max(c.below_low / c.repeats for c in some):.3f}" for some in tested),
        ],
        ["largest size at 0.05", *(f"{max(cell.size(TABLE) for cell in some):.3f}" for some in tested)],
        ["largest excess", *(f"{max(cell.excess(TABLE) for cell in some):.3f}" for some in tested)],
    ]


def as_json(cells: list[Cell], triples: int) -> str:
    """All that was measured, for programs."""
    found = [
        {
            **{
                name: getattr(cell, name) for name in ("values", "sd_seed", "sd_triple", "seeds", "repeats", "coverage")
            },
            "lower_bound_missed": cell.below_low / cell.repeats,
            "tests": {
                test: {"size_at_0.05": cell.size(test), "excess": cell.excess(test)}
                for test in (TABLE, *ALONE)
                if cell.has(test)
            },
        }
        for cell in cells
    ]
    whole = {"triples": triples, "chance_allows": allowance(cells), "failures": failures(cells), "settings": found}
    return json.dumps(whole, indent=1)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("repeats", 2000), ("triples", 200), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    cells = all_cells(given.repeats, given.triples, given.seed)
    print(as_json(cells, given.triples) if given.json else report(cells, given.triples))
    for line in failures(cells):
        print(f"does not hold: {line}", file=sys.stderr)
    sys.exit(1 if failures(cells) else 0)


if __name__ == "__main__":
    main()
