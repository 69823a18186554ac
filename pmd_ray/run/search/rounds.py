"""The rounds of a search: one Optuna study for each target depth or for all, or for each parent of a beam's grade."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pmd_ray.run.stage_job import StageJob
from pmd_ray.spec.chain import ChainConfig
from pmd_ray.spec.chain_stages import ChainStage, FactsOf, stages_of_chain
from pmd_ray.spec.draw import Suggest, draw_chain, draw_grade
from pmd_ray.spec.enqueued import Enqueued, enqueued
from pmd_ray.spec.errors import SpecError
from pmd_ray.spec.points import (
    all_params,
    chain_of,
    chain_up_to,
    params_of_grade,
    settings_of,
    settings_of_grade,
    targets_of,
)
from pmd_ray.spec.search import SearchConfig
from pmd_ray.spec.search_chain import meaning_of
from pmd_ray.spec.search_record import DEFAULT, SAMPLED, TrialRecord, TrialState
from pmd_ray.spec.study_record import StageUse

UNCHANGED = "as the baseline"
"""Of a beam: a student as the baseline has it, under a parent that differs from it."""


@dataclass(frozen=True, kw_only=True)
class Round:
    """One Optuna study: what it draws, and what a drawn point means."""

    name: str
    search: SearchConfig
    facts_of: FactsOf
    target: int | None = None
    """Depth of the last student; None where layers are not searched, or chains of every target are in one study."""
    place: int | None = None
    """Strategy grade: place of the student that it adds, from 1."""
    parent: TrialRecord | None = None
    """Strategy grade: the trial whose last grade teaches; None under the teacher itself."""
    queue: tuple[Enqueued, ...] = ()
    trials: int | None = None
    """At most; None leaves it to the budget."""

    def draw(self, suggest: Suggest) -> dict[str, Any]:
        """The parameters of a point."""
        if self.place is None:
            return draw_chain(self.search, suggest, target=self.target)
        return draw_grade(self.search, suggest, place=self.place, parent=self._above)

    def settings_of(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """What a point lays over the baseline."""
        if self.place is None:
            return settings_of(self.search, params, target=self.target)
        return settings_of_grade(self.search, params, place=self.place, parent=self._above)

    def describe(
        self, number: int, params: Mapping[str, Any], origin: str, settings: Mapping[str, Any] | None = None
    ) -> TrialRecord:
        """The trial of a point: its chain as stages.

        Args:
            number: Of the trial, over the whole search.
            params: What was drawn.
            origin: `sampled`, or the point's name.
            settings: Of a queued point; None for a drawn one.
        """
        laid = self.settings_of(params) if settings is None else dict(settings)
        if origin != SAMPLED and self.place is None:
            laid = differing(self.search, laid)
        chain = self.chain_of(laid)
        students = chain.grades[1:]
        return TrialRecord(
            number=number,
            round=self.name,
            origin=origin,
            parent=None if self.parent is None else self.parent.number,
            params=dict(params),
            settings=laid,
            layers=tuple(grade.layers for grade in chain.grades),
            mask_rates=tuple(grade.mask.rate for grade in students),
            alphas=tuple(grade.loss.alpha for grade in students),
            betas=tuple(grade.loss.beta for grade in students),
            stages=tuple(map(StageUse.of, self.stages_of(chain))),
        )

    def chain_of(self, settings: Mapping[str, Any]) -> ChainConfig:
        """The chain of some settings; of a beam's round, up to the student that it adds."""
        if self.place is None:
            return chain_of(self.search, settings)
        return chain_up_to(self.search, settings, place=self.place)

    def jobs_of(self, trial: TrialRecord) -> list[StageJob]:
        """What trains the stages of a trial."""
        chain = self.chain_of(trial.settings)
        return [StageJob.of(stage, chain) for stage in self.stages_of(chain)]

    def stages_of(self, chain: ChainConfig) -> list[ChainStage]:
        """The stages of a chain, each after its teacher."""
        return stages_of_chain(chain, self.facts_of(chain))

    @property
    def _above(self) -> dict[str, Any]:
        return dict(self.parent.settings) if self.parent else {}


def whole_rounds(search: SearchConfig, facts_of: FactsOf) -> Iterator[Round]:
    """The rounds of a search whose trials are whole chains: one for each target, or one in all."""
    for target in targets_of(search):
        first = enqueued(search, target=target)
        trials = search.budget.trials
        if search.is_grid:
            for params in all_params(search, target=target):
                first.append(Enqueued(SAMPLED, settings_of(search, params, target=target), params))
            trials = len(first) if trials is None else min(trials, len(first))
        name = "chain" if target is None else f"layers-{target}"
        yield Round(name=name, search=search, facts_of=facts_of, target=target, queue=tuple(first), trials=trials)


def beam_round(search: SearchConfig, facts_of: FactsOf, *, place: int, parent: TrialRecord | None) -> Round:
    """The round of a beam that adds the student at a place (from 1) to one parent, None under the teacher itself."""
    above = dict(parent.settings) if parent else {}
    queue: list[Enqueued] = []
    trials = search.search.children
    if search.is_grid:
        for params in all_params(search, target=None, place=place, parent=above):
            settings = settings_of_grade(search, params, place=place, parent=above)
            queue.append(Enqueued(SAMPLED, settings, params))
        trials = len(queue)
    elif search.enqueue.default:
        unchanged = params_of_grade(search, above, place=place, parent=above)
        queue.append(Enqueued(UNCHANGED if above else DEFAULT, above, unchanged))
    name = f"grade-{place}" if parent is None else f"grade-{place}-under-{parent.number}"
    return Round(
        name=name,
        search=search,
        facts_of=facts_of,
        place=place,
        parent=parent,
        queue=tuple(queue),
        trials=trials,
    )


def students_of(search: SearchConfig) -> int:
    """Grades after the teacher of the baseline."""
    return len(chain_of(search, {}).grades) - 1


def differing(search: SearchConfig, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings without what the baseline has already: a point that was tried first may repeat it."""
    kept, means = dict(settings), meaning_of(search, settings)
    for key in settings:
        rest = {name: value for name, value in kept.items() if name != key}
        with contextlib.suppress(SpecError):  # mask rates of another number of grades
            kept = rest if meaning_of(search, rest) == means else kept
    return kept


def best_of(trials: Sequence[TrialRecord], count: int) -> list[TrialRecord]:
    """The best finished trials, the earlier one where values are equal; each chain once."""
    done = [trial for trial in trials if trial.state is TrialState.DONE and trial.value is not None]
    ordered = sorted(done, key=lambda trial: (-(trial.value or 0.0), trial.number))
    kept: dict[tuple[str, ...], TrialRecord] = {}
    for trial in ordered:
        kept.setdefault(tuple(stage.key for stage in trial.stages), trial)
    return list(kept.values())[:count]
