"""Rules of a search that need its chains: names that none has, points that cannot be built."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pmd_ray.spec.draft import CHAIN_KEYS
from pmd_ray.spec.draw import decides, probes, written_for
from pmd_ray.spec.errors import SpecError, nearest
from pmd_ray.spec.points import depths_of
from pmd_ray.spec.schedules import alpha_of_ratio, layer_schedules
from pmd_ray.spec.search import (
    WEIGHT_AT_MOST,
    Choice,
    SearchConfig,
    SettingSpace,
    Span,
    Steps,
)
from pmd_ray.spec.search_chain import STUDENTS, chain_of, is_one_of, values_at
from pmd_ray.spec.search_values import highest
from pmd_ray.spec.variants import flattened, touched

ELSEWHERE = {
    "layers": "give layer schedules under space.layers",
    "mask_rates": "give mask schedules under space.masks, which keeps rates from rising",
    "mask.rate": "give mask schedules under space.masks, which keeps rates from rising",
    "loss.alpha": "give it under space.weights, which keeps alpha + beta in bounds",
    "loss.beta": "give it under space.weights, which keeps alpha + beta in bounds",
    "seed": "a search has one seed; give it under seed",
    "preset": "a preset is a baseline; give it there",
    "grades": "name one setting, as in students.optimiser.lr",
    "controls": "it trains other students beside the chain's; leave it out",
    "dataset.source": "values on two graphs cannot be compared; make two searches",
    "evaluation": "values measured in two ways cannot be compared; leave it out",
    "select.valid_triples": "values on two samples cannot be compared; leave it out",
}
"""Settings that are no part of `space.settings`, and why."""


def space_errors(search: SearchConfig) -> list[str]:
    """Every broken rule of the parts of the space; the baseline itself can be built."""
    errors = [*_layer_errors(search), *_weight_errors(search)]
    for key, space in search.space.settings.items():
        errors += _setting_errors(search, key, space)
    return errors


def strategy_errors(search: SearchConfig) -> list[str]:
    """What strategy and sampler cannot do with the space."""
    errors, asked = list[str](), search.search
    if asked.strategy == "grade":
        if search.space.layers is not None:
            errors.append(
                "space.layers: strategy grade ranks children of one depth, schedules differ in it; use strategy: "
                "chain, or leave layers out"
            )
        errors += [
            f"space.settings.{key}: is one for the whole chain, strategy grade draws by grade; use strategy: chain"
            for key in search.space.settings
            if key.partition(".")[0] in CHAIN_KEYS
        ]
    if asked.is_grid:
        errors += [
            f"{where}: a range without steps has no end of values to list; give it a list or a step for a grid"
            for where, values in values_of(search)
            if not values.finite
        ]
    if asked.strategy in ("chain", "grade") and asked.sampler in ("gp", "cmaes"):
        by_grade = asked.strategy == "grade"
        numeric = [w for w, v in values_of(search) if not isinstance(v, Choice) and not (by_grade and ".masks." in w)]
        if not numeric:
            errors.append(
                f"search.sampler: {asked.sampler} models numbers, and every parameter of the space is one of a list; "
                "use tpe, or give a range, as in {low: 0.0, high: 0.3, step: 0.05}"
            )
    return errors


def point_errors(search: SearchConfig) -> list[str]:
    """Enqueued points that no chain can have; one outside the space is none."""
    ends, errors = depths_of(search), list[str]()
    for name, settings in search.enqueue.points.items():
        try:
            depth = chain_of(search, settings).grades[-1].layers
        except SpecError as error:
            errors += [f"enqueue.points.{name}: {line}" for line in error.errors]
            continue
        if depth not in ends:
            errors.append(
                f"enqueue.points.{name}: ends in {depth} layers, the search's chains in {' or '.join(map(str, ends))}"
            )
    return errors


def parameter_names(search: SearchConfig) -> list[str]:
    """What may be drawn, as `base_name` calls it."""
    space, by_grade = search.space, search.search.strategy == "grade"
    names = ["layers"] if space.layers is not None else []
    if space.masks is not None:
        names += ["mask.rate"] if by_grade else ["mask.first", "mask.last_zero", "mask.ratio"]
    names += ["alpha", "beta"] if space.weights is not None else []
    return [*names, *space.settings]


def values_of(search: SearchConfig) -> Iterator[tuple[str, Choice | Steps | Span]]:
    """Every list and range of the space with its place in the file."""
    space = search.space
    if space.masks is not None:
        yield from (("space.masks.first", space.masks.first), ("space.masks.ratio", space.masks.ratio))
    if space.weights is not None:
        yield from (("space.weights.alpha", space.weights.alpha), ("space.weights.beta", space.weights.beta))
    for key, setting in space.settings.items():
        yield f"space.settings.{key}", setting.values


def _layer_errors(search: SearchConfig) -> Iterator[str]:
    space, said = search.space.layers, set[str]()
    if space is None:
        return
    for layers in (one for target in space.targets for one in layer_schedules(space, target)):
        try:
            chain_of(search, {"layers": list(layers)})
        except SpecError as error:
            new = [line for line in error.errors if line not in said]
            said.update(new)
            yield from (f"space.layers: {'-'.join(map(str, layers))}: {line}" for line in new)


def _weight_errors(search: SearchConfig) -> Iterator[str]:
    """Where beta is not drawn, the baseline's stays, and alpha must fit beside it."""
    space = search.space.weights
    if space is None:
        return
    grades = chain_of(search, {}).grades
    ways = {grade.loss.combination for grade in grades[1:]} - {"convex"}
    if space.form == "log_ratio" and ways:
        yield (
            f"space.weights.form: log_ratio is over the label loss's weight 1 - alpha - beta, loss.combination is "
            f"{min(ways)}; use form: grid"
        )
    alpha, beta = highest(space.alpha), max((grade.loss.beta for grade in grades[1:]), default=0.0)
    most = alpha if space.form == "grid" else alpha_of_ratio(alpha, beta=beta)
    if most + beta > WEIGHT_AT_MOST + 1e-9:
        yield (
            f"space.weights.alpha: alpha + beta may reach {WEIGHT_AT_MOST:g}, got up to {most:g} beside the baseline's "
            f"beta {beta:g}, which stays where nothing is masked; lower one of them"
        )


def _setting_errors(search: SearchConfig, key: str, space: SettingSpace) -> Iterator[str]:
    where, plain = f"space.settings.{key}", touched(key.removeprefix(STUDENTS))
    reserved = [r for r in ELSEWHERE if plain == r or plain.startswith(f"{r}.") or r.startswith(f"{plain}.")]
    if reserved:
        yield f"{where}: {ELSEWHERE[reserved[0]]}"
        return
    head, _, rest = key.partition(".")
    name = rest.partition(".")[0] if head == "grades" else "*"
    if search.space.layers is not None and name not in ("*", "teacher"):
        yield f"{where}: not every chain has grade {name} where layers are searched; use {STUDENTS}{plain}"
        return
    if key.startswith(STUDENTS) and plain.partition(".")[0] in CHAIN_KEYS:
        yield f"{where}: is one for the whole chain; write {plain}"
        return
    yield from list(_when_errors(search, key, space)) or _value_errors(search, key, space)


def _when_errors(search: SearchConfig, key: str, space: SettingSpace) -> Iterator[str]:
    spaces = search.space.settings
    order = sorted(spaces, key=lambda other: not decides(other))
    before = order[: order.index(key)]
    baseline = chain_of(search, {})
    for other, legal in space.when.items():
        where = f"space.settings.{key}.when.{other}"
        if other in spaces and other not in before:
            yield f"{where}: is not drawn before {key}; put it before, or ask for another setting"
        elif other in spaces:
            values = spaces[other].values
            if values.finite and not any(is_one_of(value, legal) for value in values.values()):
                yield f"{where}: none of {list(legal)} is among its values {list(values.values())}"
        else:
            try:
                values_at(baseline, other)
            except KeyError:
                known = [*spaces, *flattened(baseline.grades[-1].model_dump(mode="json"))]
                yield f"{where}: no such setting, neither searched nor of the chain{nearest(other, known)}"


def _value_errors(search: SearchConfig, key: str, space: SettingSpace) -> Iterator[str]:
    """Each value is tried over the baseline, with what `when` asks for."""
    chain, said = chain_of(search, {}), set[str]()
    asked: dict[str, Any] = {}
    for other, legal in space.when.items():
        asked |= written_for(other, legal[0], chain) if legal else {}
    for value in probes(space.values):
        try:
            chain_of(search, {**asked, **written_for(key, value, chain)})
        except SpecError as error:
            new = [line for line in error.errors if line not in said]
            said.update(new)
            yield from (f"space.settings.{key}: {line}" for line in new)
