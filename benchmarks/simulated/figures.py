"""How long stages take, and what goes wrong: measured figures that a simulation draws from."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import log
from random import Random
from statistics import fmean, pstdev

from pydantic import ValidationError

from pmd_ray.spec.attempt import AttemptState, FailureKind
from pmd_ray.spec.chain import ChainConfig
from pmd_ray.spec.draft import build_chain
from pmd_ray.spec.errors import UserError
from pmd_ray.spec.study import BASELINE
from pmd_ray.spec.study_record import StudyRecord
from pmd_ray.store.store import Store

Kind = tuple[int, bool]
"""Layers, and whether a teacher is there."""

SECONDS: dict[Kind, float] = {(6, False): 1511, (6, True): 1994, (3, True): 1205, (2, True): 546}
"""Of the chain 6 -> 6 -> 3 -> 2 on WN18RR_v1 (RESULTS.md)."""
SPREAD = 0.12
"""Standard deviation of log seconds among equal stages: 0.01 to 0.12 in a store of `pmd ablate quickstart`."""
STARTS_S = tuple(map(float, range(7, 26)))
"""From the hand-over to the first step: 7 to 25 s, Ray 2.5x to 2.6x on two cores."""
FAILURES = {
    FailureKind.NODE_LOST: 4,
    FailureKind.OUT_OF_MEMORY: 3,
    FailureKind.TIMEOUT: 1,
    FailureKind.NOT_FINITE: 1,
    FailureKind.BUG: 1,
}
"""Shares by kind; assumed, not measured."""


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What a simulation draws from."""

    chain: ChainConfig
    """The baseline."""
    seconds: Mapping[Kind, float]
    """Of training, start-up left out."""
    spread: float = SPREAD
    starts: tuple[float, ...] = STARTS_S
    """Seconds of start-up, each as likely."""
    failures: Mapping[FailureKind, int] = field(default_factory=lambda: dict(FAILURES))
    """Why attempts fail that are not preempted; weights."""
    source: str

    def expected(self, layers: int, *, taught: bool) -> float:
        """Mean seconds of a stage: measured, or by layers from the nearest depth that was."""
        if (layers, taught) in self.seconds:
            return self.seconds[layers, taught]
        near = min(self.seconds, key=lambda kind: (abs(kind[0] - layers), kind[1] != taught))
        return self.seconds[near] * layers / near[0]

    def factor(self, draw: Random) -> float:
        """How much longer than expected a stage takes."""
        return draw.lognormvariate(0.0, self.spread)

    def start(self, draw: Random) -> float:
        """Seconds until an attempt trains."""
        return draw.choice(self.starts)

    def failure(self, draw: Random) -> FailureKind:
        """Why an attempt fails."""
        return draw.choices(list(self.failures), list(self.failures.values()))[0]


def built_in() -> Figures:
    """Those of this file."""
    chain = build_chain([{"layers": [6, 6, 3, 2], "optimiser": {"lr": 2e-4}}], source="the simulated study")
    return Figures(chain=chain, seconds=SECONDS, source="RESULTS.md: WN18RR_v1, 6 -> 6 -> 3 -> 2")


def of_store(place: str) -> Figures:
    """Those of the newest study in a store that has trained stages.

    Raises:
        UserError: no study there has any.
    """
    store = Store.open(place, create=False)
    for record in _newest(store):
        kinds = _kinds(record, store)
        if kinds:
            return _figures(record, store, kinds)
    raise UserError(f"{place}: no study there has trained stages; leave --store out, or train one first")


def _newest(store: Store) -> Iterator[StudyRecord]:
    records = []
    for text in store.studies().values():
        try:
            records.append(StudyRecord.model_validate_json(text))
        except ValidationError:  # a search, or of another version
            continue
    yield from sorted(records, key=lambda record: record.created, reverse=True)


def _kinds(record: StudyRecord, store: Store) -> dict[tuple[int, bool, float], dict[str, float]]:
    """Seconds of training by stage, stages of one depth, role and mask rate together."""
    found: dict[tuple[int, bool, float], dict[str, float]] = defaultdict(dict)
    for run in record.runs:
        for use in run.stages:
            manifest = store.manifest(use.key)
            if manifest is not None and manifest.seconds > 0.0:
                found[use.layers, use.teacher is not None, use.mask_rate][use.key] = manifest.seconds
    return dict(found)


def _figures(record: StudyRecord, store: Store, kinds: Mapping[tuple[int, bool, float], dict[str, float]]) -> Figures:
    seconds: dict[Kind, list[float]] = defaultdict(list)
    logs: list[float] = []
    starts: list[float] = []
    failures: Counter[FailureKind] = Counter()
    for (layers, taught, _), stages in kinds.items():
        seconds[layers, taught] += stages.values()
        mean = fmean(log(one) for one in stages.values())
        logs += [log(one) - mean for one in stages.values()] if len(stages) > 1 else []
        for key, trained in stages.items():
            attempts = store.attempts(key)
            failures.update(one.failure for one in attempts if one.failure is not None)
            if len(attempts) == 1 and attempts[0].state is AttemptState.DONE:
                starts.append(max(0.0, attempts[0].seconds - trained))
    known = sum(map(len, kinds.values()))
    return Figures(
        chain=next(one for one in record.study.variants if one.name == BASELINE).arms[0].chain,
        seconds={kind: fmean(all_of) for kind, all_of in seconds.items()},
        spread=pstdev(logs) if logs else SPREAD,
        starts=tuple(sorted(starts)) or STARTS_S,
        failures=dict(failures) or dict(FAILURES),
        source=f"{known} stages of '{record.study.name}' in {store.location}",
    )
