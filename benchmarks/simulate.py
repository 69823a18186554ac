"""How well does a walk fill a cluster, and what does its driver take? The plan and the walk are real, the stages not.

    python -m benchmarks.simulate [--gpus 10 100 1000] [--stages 1000 100000] [--preemptions 0 1] [--failures 0.01]
        [--elsewhere 0.002] [--workers 1] [--epochs 10] [--store PLACE] [--seed 0] [--json]

A study of a baseline and variants that each differ from it in one grade, over 20 seeds, is written as stages by
`build_tree` and walked by `Walk` against a pool and a store with a virtual clock. Times are drawn from measured ones:
of the newest study of a store (`--store`), else from RESULTS.md; a stage takes 7 to 25 s to start. What a plan expects
of a stage is the mean of its kind, what it takes is spread around that as was measured. Preemptions are counted per GPU
and day: the stage loses the epoch that it is in, the driver hears of it after 3 to 30 s, the GPU is back after 2 to 10
minutes. Cases with preemptions also have attempts that fail otherwise (`--failures`, a share) and stages that another
run trains (`--elsewhere`); cases without have no trouble at all. That a stage is cut into 10 epochs, how failures share
out over their kinds, and how long a GPU is away are assumed. Of stages with several workers each group has 0.5 to
0.8 GB of helper processes beside its launcher.

The bound is the longer of the longest chain and all work over all GPUs, start-up counted as work; lost work, GPUs that
are away, and teachers for which everyone waits are not in it. Driver CPU is that of the walk, measured, and of Ray's
client, estimated from what each of its calls took; the mailbox of events, a process of its own, is not in it. Exits
with 1 when 100,000 stages on 1,000 GPUs miss what the project promises: the makespan within 5 % of the bound without
trouble, within 15 % at one preemption per GPU and day, under 4 GB, under a tenth of a core for 100 running stages.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from itertools import product
from multiprocessing import get_context
from typing import Any

from benchmarks.simulated.case import Asked, Found, run_case
from benchmarks.simulated.cluster import Trouble
from benchmarks.simulated.figures import Figures, built_in, of_store
from pmd_ray.spec.errors import UserError

PROMISED_OVER = {0.0: 0.05, 1.0: 0.15}
"""By preemptions a GPU and day: how much longer than the bound, at most."""
PROMISED_MB = 4000.0
PROMISED_CORES = 0.1
"""For 100 running stages."""
PROMISED_GPUS, PROMISED_STAGES = 1000, 100_000


def broken_promises(found: Found) -> list[str]:
    """What a case of the promised size misses; empty for all others."""
    over = PROMISED_OVER.get(found.preemptions)
    if found.gpus != PROMISED_GPUS or found.stages < PROMISED_STAGES or found.workers > 1 or over is None:
        return []
    missed = []
    if found.over > over:
        missed.append(f"{found.over:.1%} over the bound, at most {over:.0%}")
    if found.peak_mb > PROMISED_MB:
        missed.append(f"{found.peak_mb:,.0f} MB, at most {PROMISED_MB:,.0f}")
    if found.cores_per_100 > PROMISED_CORES:
        missed.append(f"{found.cores_per_100:.3f} cores for 100 running stages, at most {PROMISED_CORES:g}")
    return missed


def is_promised(found: Found) -> bool:
    """Whether anything is promised of a case."""
    large = found.gpus == PROMISED_GPUS and found.stages >= PROMISED_STAGES
    return large and found.workers == 1 and found.preemptions in PROMISED_OVER


def json_of(found: Found) -> dict[str, Any]:
    """Plain values, with what follows from them."""
    over = found.over if math.isfinite(found.over) else None
    derived = {"over": over, "cores_per_100": found.cores_per_100, "cpu_ms_per_stage": found.cpu_ms_per_stage}
    return {**asdict(found), **derived, "promised": is_promised(found), "missed": broken_promises(found)}


COLUMNS = (
    "GPUs",
    "stages",
    "preemptions",
    "makespan",
    "over bound",
    "utilisation",
    "lost",
    "epochs lost per failure",
    "attempts",
    "plan CPU",
    "walk CPU a stage",
    "driver, core for 100 running",
    "peak RSS",
)


def cells(found: Found) -> list[str]:
    """A row of the table."""
    mean, most = found.lost_epochs
    return [
        f"{found.gpus:,}",
        f"{found.stages:,}",
        f"{found.preemptions:g}",
        f"{found.makespan_s / 3600:,.1f} h",
        f"{found.over:.1%}",
        f"{found.utilisation:.1%}",
        f"{found.lost_share:.2%}",
        f"{mean:.2f} (at most {most:.2f})" if found.attempts > found.stages else "-",
        f"{found.attempts:,}",
        f"{found.plan_cpu_s:.1f} s",
        f"{found.cpu_ms_per_stage:.2f} ms",
        f"{100 * found.cores_per_100:.2g} %",
        f"{found.peak_mb:,.0f} MB",
    ]


def table(rows: Sequence[Found], figures: Figures) -> str:
    """Markdown, and what of it was promised."""
    lines = [f"Durations: {figures.source}; {len(figures.seconds)} kinds, spread {figures.spread:.2f}.", ""]
    lines += ["| " + " | ".join(COLUMNS) + " |", "|" + " --- |" * len(COLUMNS)]
    lines += ["| " + " | ".join(cells(found)) + " |" for found in rows]
    for found in rows:
        if is_promised(found):
            missed = "; ".join(broken_promises(found)) or "holds"
            lines += ["", f"Promised at {found.preemptions:g} preemptions per GPU and day: {missed}."]
        if found.workers > 1:
            everywhere, a_node = found.helpers_gb
            lines += [
                "",
                f"{found.workers} GPUs a stage on {found.gpus:,} GPUs: helper processes of {everywhere:,.1f} GB ",
            ]
            lines[-1] += f"in all, {a_node:.1f} GB a node when launchers are spread."
    return "\n".join(lines)


def cases(given: argparse.Namespace) -> Iterator[Asked]:
    """Every combination, small ones first."""
    for stages, gpus, preemptions in product(given.stages, given.gpus, given.preemptions):
        trouble = Trouble()
        if preemptions:
            trouble = Trouble(preemptions=preemptions, failures=given.failures, elsewhere=given.elsewhere)
        yield Asked(
            gpus=gpus, stages=stages, trouble=trouble, workers=given.workers, epochs=given.epochs, seed=given.seed
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and print; 1 where a promise is not kept, 2 for a wrong argument."""
    parser = _parser()
    given = parser.parse_args(arguments)
    if given.workers > min(given.gpus):
        parser.error(f"--workers {given.workers}: a stage does not fit on {min(given.gpus)} GPUs")
    try:
        figures = of_store(given.store) if given.store else built_in()
    except UserError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    rows: list[Found] = []
    # A process for each case: peak memory is that of a process.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1) as processes:
        for asked in cases(given):
            rows.append(processes.submit(run_case, asked, figures).result())
            print(" | ".join(cells(rows[-1])), file=sys.stderr)
    if given.json:
        print(json.dumps({"durations": figures.source, "rows": [json_of(found) for found in rows]}, indent=1))
    else:
        print(table(rows, figures))
    return int(any(broken_promises(found) for found in rows))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpus", type=_count, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--stages", type=_count, nargs="+", default=[1000, 100_000])
    parser.add_argument("--preemptions", type=_amount, nargs="+", default=[0.0, 1.0], help="per GPU and day")
    parser.add_argument("--failures", type=_share, default=0.01, help="share of attempts")
    parser.add_argument("--elsewhere", type=_share, default=0.002, help="share of stages")
    parser.add_argument("--workers", type=_count, default=1, help="GPUs of each stage")
    parser.add_argument("--epochs", type=_count, default=10, help="of each stage")
    parser.add_argument("--store", metavar="PLACE", help="draw from what its newest study measured")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    return parser


def _count(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, got {text}")
    return number


def _amount(text: str) -> float:
    if not 0.0 <= (number := float(text)) < float("inf"):
        raise argparse.ArgumentTypeError(f"must be 0 or more, got {text}")
    return number


def _share(text: str) -> float:
    if not 0.0 <= (number := float(text)) < 1.0:
        raise argparse.ArgumentTypeError(f"must lie in [0, 1), got {text}")
    return number


if __name__ == "__main__":
    sys.exit(main())
