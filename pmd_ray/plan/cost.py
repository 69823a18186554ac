"""What each stage costs: measured where an equal or a like stage was trained before, else counted (method notes, 7).

Seconds are CPU-seconds of all threads, or GPU-seconds where stages run on GPUs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean

from pmd_ray.plan.rate import Rate
from pmd_ray.plan.text_counts import Lengths, TextCounts
from pmd_ray.plan.workload import Workload
from pmd_ray.spec.chunks import GROUP_TOKENS

WEIGHT_S = 1.5e-9
"""CPU-seconds of optimiser work for each weight and step."""
SCORE_S = 2e-9
"""CPU-seconds to compare one score with the answer's, beside its product."""
BYTE_S = 1e-9
"""CPU-seconds to write a byte of a checkpoint."""
CHECKPOINT_BYTES = 12
"""Of each weight: its value and AdamW's two moments, in fp32."""
STAGE_S = 6.0
"""CPU-seconds of building, reading texts and files for each stage."""
GPU_WEIGHT_S = 3e-11
GPU_STAGE_S = 15.0
KERNELS = 36
"""Kernels that one layer launches for a group of texts, forward and backward."""
LAUNCH_S = 5e-6


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What an earlier training cost: plain values, read by the caller from results and attempts."""

    key: str
    seconds: float
    """Wall-clock, over all its attempts."""
    cpu_seconds: float
    """Of all threads, likewise."""
    threads: int | None = None
    peak_memory: int | None = None
    """Bytes at the highest: resident, or on the GPU."""
    workload: Workload | None = None
    """Of a stage that is not of this study; the plan knows those that are."""

    def cost(self, device: str) -> float:
        """Its CPU-seconds, or its GPU-seconds (a stage holds its GPU while it lasts)."""
        return self.cpu_seconds if device.startswith("cpu") else self.seconds


@dataclass(frozen=True, kw_only=True)
class StageCost:
    """The cost of one stage, and how it is known."""

    key: str
    seconds: float
    """Of a CPU core, or of a GPU."""
    wall_seconds: float
    source: str


def stage_costs(
    stages: Mapping[str, Workload],
    names: Mapping[str, str],
    texts: TextCounts,
    *,
    measured: Iterable[Measured],
    rate: Rate,
    threads: int,
) -> dict[str, StageCost]:
    """The cost of every stage, by key.

    Args:
        stages: Workload by key.
        names: What each stage is called.
        texts: Of the graph.
        measured: Earlier trainings, of this study or like one of it.
        rate: Operations that training does in a second.
        threads: Of each stage on a CPU.
    """
    known = {one.key: one for one in measured}
    each = {work: counted_seconds(work, texts, rate) for work in set(stages.values())}
    counted = {key: each[work] for key, work in stages.items()}
    like = _by_kind(known.values(), stages, texts, rate)
    share, samples = _measured_share(like)
    found: dict[str, StageCost] = {}
    for key, work in stages.items():
        cpu = work.device.startswith("cpu")
        wall = None
        if key in known:
            seconds, source = known[key].cost(work.device), "measured here"
            wall = known[key].seconds if known[key].threads == threads or not cpu else None
        elif work.kind in like:
            ratios = [ratio for _, ratio in like[work.kind]]
            seconds = counted[key] * fmean(ratios)
            called = names.get(like[work.kind][0][0], "a stage of another study")
            source = f"measured: like {called} on {len(ratios)} stage{'s' if len(ratios) > 1 else ''}"
        elif samples:
            seconds = counted[key] * share
            source = f"counted, times {share:.2g} as {samples} measured stage{'s' if samples > 1 else ''}"
        else:
            seconds, source = counted[key], f"counted, {rate.source}"
        wall = wall if wall is not None else seconds / (threads if cpu else 1)
        found[key] = StageCost(key=key, seconds=seconds, wall_seconds=wall, source=source)
    return found


def counted_seconds(work: Workload, texts: TextCounts, rate: Rate) -> float:
    """Seconds from operations: the student's steps, its teacher, every ranking, the optimiser, files."""
    reading = work.reading
    batch = texts.batch(reading)
    # Backward costs twice a forward pass; gradient caching runs that once more.
    passes = (4.0 if work.recomputes else 3.0) * work.sights
    trained = _forward(batch, work.layers, work.width) * passes * work.steps
    trained += _teacher_operations(work, texts, batch)
    ranked, scores = _ranking(work, texts)
    trained += _forward(ranked, work.layers, work.width) + 2.0 * scores * work.width
    seconds = trained / rate.of(work.device)
    updated, written = work.weights * work.steps, work.weights * work.epochs * CHECKPOINT_BYTES
    if work.device.startswith("cpu"):
        return seconds + scores * SCORE_S + updated * WEIGHT_S + written * BYTE_S + STAGE_S
    groups = max(2.0, batch.tokens / GROUP_TOKENS["cuda"]) * work.steps  # one of each tower at least
    launched = groups * (work.layers * passes / 3 + work.teacher_layers * (work.teacher == "every step") / 3) * KERNELS
    return max(seconds, launched * LAUNCH_S) + updated * GPU_WEIGHT_S + written * BYTE_S + GPU_STAGE_S


def _forward(lengths: Lengths, layers: int, width: int) -> float:
    return layers * lengths.operations(width)


def _teacher_operations(work: Workload, texts: TextCounts, batch: Lengths) -> float:
    match work.teacher:
        case "nothing":
            return 0.0
        case "once":  # unless few steps see fewer texts than there are
            once = _forward(texts.distinct(work.reading.text), work.teacher_layers, work.teacher_width)
            return min(once, _forward(batch, work.teacher_layers, work.teacher_width) * work.steps)
        case "every step":
            return _forward(batch, work.teacher_layers, work.teacher_width) * work.steps


def _ranking(work: Workload, texts: TextCounts) -> tuple[Lengths, float]:
    """Texts encoded for all rankings of a stage, and scores compared.

    After each epoch the validation triples are ranked (or a sample of them); at the end the test triples, and all of
    the validation triples once more where the epoch that is kept was not just ranked on them.
    """
    text, sizes = work.reading.text, texts.sizes
    sample = min(work.valid_triples or sizes.valid, sizes.valid)
    again = 1 if work.valid_triples is not None or (work.keeps_best and work.epochs > 1) else 0
    encoded = texts.entities(text) * (work.epochs + again + 1.0)
    encoded += texts.asked(text, "valid", sample) * float(work.epochs) + texts.asked(text, "valid") * float(again)
    encoded += texts.asked(text, "test")
    queries = 2.0 * (sample * work.epochs + sizes.valid * again + sizes.test)
    return encoded, queries * sizes.entities * (2 if work.reranks else 1)


def _by_kind(
    measured: Iterable[Measured], stages: Mapping[str, Workload], texts: TextCounts, rate: Rate
) -> dict[Workload, list[tuple[str, float]]]:
    """Measured stages by kind: key, and what was measured over what is counted."""
    found: dict[Workload, list[tuple[str, float]]] = defaultdict(list)
    for one in measured:
        work = stages.get(one.key, one.workload)
        if work is not None:
            found[work.kind].append((one.key, one.cost(work.device) / counted_seconds(work, texts, rate)))
    return dict(found)


def _measured_share(like: Mapping[Workload, list[tuple[str, float]]]) -> tuple[float, int]:
    """Mean of measured over counted, over all kinds alike, and of how many stages."""
    return (
        fmean([fmean(ratio for _, ratio in ratios) for ratios in like.values()]) if like else 1.0,
        sum(map(len, like.values())),
    )
