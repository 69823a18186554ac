"""Points that a search tries before it draws: the baseline, the paper's setting with its single changes, the file's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pmd_ray.spec.errors import SpecError
from pmd_ray.spec.points import chain_of, depths_of, params_of
from pmd_ray.spec.presets import PAPER_LAYERS, halving_rates
from pmd_ray.spec.search import SearchConfig
from pmd_ray.spec.search_chain import STUDENTS, meaning_of
from pmd_ray.spec.search_record import DEFAULT, PAPER
from pmd_ray.spec.variants import touched

Settings = dict[str, Any]
HIGHER_RATES = (0.3, 0.15, 0.1)
"""Of the students but the last, whose rate is 0."""
SLOW_LAYERS = (12, 12, 10, 8, 6, 4)
SLOW_RATES = (0.2, 0.15, 0.1, 0.05, 0.0)


@dataclass(frozen=True)
class Enqueued:
    """A point that is tried before any is drawn; it may lie outside the space."""

    name: str
    settings: Settings
    """Dotted, over the baseline."""
    params: dict[str, Any] | None
    """What draws it; None outside the space: it runs, and the sampler is not told of it."""


def enqueued(search: SearchConfig, *, target: int | None) -> list[Enqueued]:
    """The points to try first, in order; equal chains once, those that end in another depth than `target` left out.

    Without a target, any depth of the search will do. Of the paper's changes those are taken whose part of the chain is
    searched.
    """
    depths = depths_of(search) if target is None else [target]
    points: list[Enqueued] = []
    seen: set[tuple[str, ...]] = set()
    for name, settings in named_points(search):
        try:
            chain, meaning = chain_of(search, settings), meaning_of(search, settings)
        except SpecError:  # of the file's own points it was said when the file was read
            continue
        if chain.grades[-1].layers in depths and meaning not in seen:
            seen.add(meaning)
            points.append(Enqueued(name, settings, params_of(search, settings, target=target)))
    return points


def named_points(search: SearchConfig) -> Iterator[tuple[str, Settings]]:
    """Names and settings, whatever their depth, equal ones too."""
    if search.enqueue.default:
        yield DEFAULT, {}
    if search.enqueue.paper:
        yield from _papers(search)
    yield from search.enqueue.points.items()


def _papers(search: SearchConfig) -> Iterator[tuple[str, Settings]]:
    """The paper's setting as far as the baseline's depth allows (PMD, 4.1), its ablations, and two of ours."""
    space = search.space
    layers = _layers_of_paper(search)
    if layers:
        yield from _with_changes(search, _paper(layers))
    if space.layers is not None and space.layers.first[0] == SLOW_LAYERS[0]:
        yield "layers 10-8-6-4", _masked(_paper(list(SLOW_LAYERS)), list(SLOW_RATES))


def _layers_of_paper(search: SearchConfig) -> list[int]:
    """The paper's own from a teacher as deep to a student as small, else the baseline's; none that end elsewhere."""
    layers, targets = [grade.layers for grade in chain_of(search, {}).grades], depths_of(search)
    if search.search.strategy != "grade" and layers[0] == PAPER_LAYERS[0] and PAPER_LAYERS[-1] in targets:
        return list(PAPER_LAYERS)
    return layers if layers[-1] in targets else []


def _with_changes(search: SearchConfig, paper: Settings) -> Iterator[tuple[str, Settings]]:
    space, students = search.space, len(paper["mask_rates"])
    yield PAPER, paper
    if space.weights is not None:
        yield "paper without feature loss", {**paper, "loss.beta": 0.0}
    if space.masks is not None:
        yield "paper without masks", _masked(paper, [0.0] * students)
        for percent in (5, 10, 20):
            yield f"paper with masks {percent}", _masked(paper, [percent / 100] * students)
    if space.layers is not None:
        yield "paper in one step", _paper([paper["layers"][0], paper["layers"][-1]])
    if any(touched(key.removeprefix(STUDENTS)) == "init.source" for key in space.settings):
        yield "paper from the teacher's layers", {**paper, "init.source": "teacher"}
    if space.masks is not None and students:
        rates = (*HIGHER_RATES, *[HIGHER_RATES[-1]] * students)[: students - 1]
        yield "masks 30/15/10/0", _masked(paper, [*rates, 0.0])


def _paper(layers: list[int]) -> Settings:
    rates = halving_rates(len(layers) - 1)
    return {"layers": layers, "mask_rates": rates, "loss.alpha": 0.1, "loss.beta": 0.1}


def _masked(settings: Mapping[str, Any], rates: list[float]) -> Settings:
    return {**settings, "mask_rates": rates}
