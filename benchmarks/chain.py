"""Trains a whole chain, on a GPU where there is one, and tells tokens a second, utilisation and time of each grade.

    python -m benchmarks.chain --data WN18RR --epochs 10 --batch 1024
    python -m benchmarks.chain --data WN18RR --base --steps 50 --batch 1024

WN18RR is what `pmd data fetch WN18RR` has fetched, or a folder of that graph. The first is MiniLM by the paper's
masks, 6 -> 6 -> 4 -> 3 -> 2. `--base` has BERT-base's shape and random weights, 12 -> 12 -> 9 -> 6 -> 3: its figures
of quality mean nothing, those of speed do. Tokens are those that a student encodes, without padding; the operations
that they and the teacher's need, over those of a plain product timed before, are the utilisation. Time is split into
training, and encoding and ranking. Without a GPU it is all the same, and slow.
"""

from __future__ import annotations

import json as json_format
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

BASE = {"layers": 12, "width": 768, "heads": 12, "vocabulary": 30_522}
MASKS = (0.2, 0.1, 0.05, 0.0)
"""Of the students, largest first (PMD, 4.1)."""


@dataclass(frozen=True, kw_only=True)
class GradeSpeed:
    """How fast one grade was."""

    grade: str
    layers: int
    steps: int
    tokens_per_second: float
    """Mean over epochs."""
    utilisation: float
    trained_s: float
    """From the first step of each epoch to its last."""
    whole_s: float
    """Validation, test, files and the teacher's table included."""
    mrr: float | None


class Watch:
    """Hears a chain's events and times its epochs."""

    def __init__(self) -> None:
        from pmd_ray.train.events import StepDone

        self.found: list[GradeSpeed] = []
        self._epochs: list[tuple[StepDone, float]] = []
        self._last: StepDone | None = None
        self._begun = self._trained = 0.0
        self._layers = self._steps = 0

    def __call__(self, event: object) -> None:
        """Take one in."""
        from pmd_ray.train.events import EpochDone, EpochKept, GradeDone, GradeStarted, StepDone, TextsEncoded

        match event:
            case GradeStarted():
                self._epochs, self._last = [], None
                self._layers, self._steps = event.layers, event.steps
                self._begun = self._trained = time.perf_counter()
            case TextsEncoded() if self._last is None:
                self._trained = time.perf_counter()  # the teacher's table comes before the first step
            case StepDone():
                self._last = event
                self._ended = time.perf_counter()
            case EpochDone() if self._last is not None:
                self._epochs.append((self._last, self._ended - self._trained))
            case EpochKept():  # the checkpoint is written
                self._trained = time.perf_counter()
            case GradeDone() if not event.reused and self._epochs:
                self.found.append(self._speed(event.grade, event.mrr))

    def _speed(self, grade: str, mrr: float | None) -> GradeSpeed:
        steps = [step for step, _ in self._epochs]
        return GradeSpeed(
            grade=grade,
            layers=self._layers,
            steps=self._steps,
            tokens_per_second=sum(step.tokens_per_second for step in steps) / len(steps),
            utilisation=sum(step.utilisation for step in steps) / len(steps),
            trained_s=sum(spent for _, spent in self._epochs),
            whole_s=time.perf_counter() - self._begun,
            mrr=mrr,
        )


def measure(
    data: Annotated[str, typer.Option("--data", metavar="GRAPH", help="A graph's folder or name.")],
    base: Annotated[
        bool, typer.Option("--base", help="BERT-base's shape with random weights, for speed alone.")
    ] = False,
    layers: Annotated[
        str | None, typer.Option("--layers", metavar="N,N,...", help="Of the teacher and each student.")
    ] = None,
    epochs: Annotated[int | None, typer.Option("--epochs", min=1, help="10, or with --base --steps one.")] = None,
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="Of an epoch at most.")] = None,
    batch: Annotated[int, typer.Option("--batch", min=2)] = 1024,
    settings: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Keep the chain there.")] = None,
    json: Annotated[bool, typer.Option("--json", help="A line of JSON a grade on standard output.")] = False,
) -> None:
    """Train, and print a row a grade."""
    import torch

    from pmd_ray.cli.output import print_table
    from pmd_ray.run.distil import distil
    from pmd_ray.run.workers import WorkerPlan
    from pmd_ray.spec.chain_file import parse_override
    from pmd_ray.spec.draft import build_chain

    depths = [int(word) for word in (layers or ("12,12,9,6,3" if base else "6,6,4,3,2")).split(",")]
    encoder = {"name": "scratch", "scratch": BASE} if base else {"name": "minilm"}
    optimiser = {"epochs": epochs or (1 if base and steps else 10), "batch": batch, "steps_per_epoch": steps}
    own = {
        "dataset": {"source": data},
        "encoder": encoder,
        "layers": depths,
        "mask_rates": [MASKS[min(place, len(MASKS) - 1)] for place in range(len(depths) - 1)],
        "mask": {"per": "text"},
        "optimiser": {key: value for key, value in optimiser.items() if value is not None},
    }
    chain = build_chain(
        [{"preset": "pmd_warm"}, own, *(parse_override(text) for text in settings or [])], source="chain"
    )
    queries = chain.grades[0].optimiser.batch
    on_gpu = torch.cuda.is_available()
    where = torch.cuda.get_device_name() if on_gpu else f"{torch.get_num_threads()} CPU threads"
    watch = Watch()
    with tempfile.TemporaryDirectory(prefix="pmd-chain-") as work:
        result = distil(chain, out or Path(work) / "chain", plan=WorkerPlan.parse("1", gpu=on_gpu), listen=watch)
    for speed in watch.found if json else []:
        print(json_format.dumps({"data": result.dataset, "batch": queries, "device": where, **asdict(speed)}))
    if not json:
        columns = ["grade", "layers", "steps", "tokens/s", "utilisation", "training s", "all s", "MRR"]
        rows = [
            [
                one.grade,
                str(one.layers),
                str(one.steps),
                f"{one.tokens_per_second:,.0f}",
                f"{one.utilisation:.0%}",
                f"{one.trained_s:.0f}",
                f"{one.whole_s:.0f}",
                "-" if base or one.mrr is None else f"{one.mrr:.3f}",
            ]
            for one in watch.found
        ]
        print_table(columns, rows, title=f"{result.dataset}, batch {queries}, {where}")


if __name__ == "__main__":
    typer.run(measure)
