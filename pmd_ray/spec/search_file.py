"""Search files: YAML in, a search with its space out; all errors of a file at once."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from pmd_ray.spec.base import Frozen
from pmd_ray.spec.chain_file import parse_override, read_draft
from pmd_ray.spec.draft import build_chain
from pmd_ray.spec.errors import SpecError, nearest
from pmd_ray.spec.file_parts import about_of, baseline_of, find_file, name_of, settings_of, shipped_in, unknown_keys
from pmd_ray.spec.presets import Draft
from pmd_ray.spec.search import ConfirmConfig, EnqueueConfig, SearchBudget, SearchConfig, SpaceConfig, StrategyConfig
from pmd_ray.spec.search_chain import chain_of
from pmd_ray.spec.search_checks import parameter_names, point_errors, space_errors, strategy_errors
from pmd_ray.spec.search_sections import section, space_of
from pmd_ray.spec.search_tryout import drawing_errors
from pmd_ray.spec.study import Metric
from pmd_ray.spec.study_overrides import lay_over

SHIPPED = Path(__file__).resolve().parents[1] / "search_spaces"
KEYS = {
    "name": "What tables and folders call the search; by default the file's name.",
    "about": "What it looks for, in a sentence or two.",
    "baseline": "A shipped chain, a preset, a chain file (from the search file's folder), or settings written here.",
    "settings": "Settings laid over the baseline, for every trial.",
    "seed": "Of sampling and training.",
    "metric": "Of the last grade, on the validation split.",
    "space": "What may vary: layers, masks, weights, settings.",
    "roles": "nuisance: parameters that are tuned for every value of the others.",
    "search": "Strategy, sampler, pruner.",
    "enqueue": "Points tried first.",
    "budget": "trials, hours, stages: whichever is reached first.",
    "confirm": "How the best are trained again.",
}
"""Keys of a search file; anything else given by `--set` is a setting of the baseline."""
DOTTED = ("space.settings.", "confirm.settings.")
"""Parts of the file whose own keys have dots."""
READ_BY_GRADE = ("beam", "children")
UNREAD_BY_GRADE = (
    ("budget", "trials", "say how many with search.children and search.beam"),
    ("enqueue", "points", "leave it out, or use strategy: chain"),
)


class _Roles(Frozen):
    nuisance: tuple[str, ...] = ()


def shipped_searches() -> list[str]:
    """Names of the search files inside the package."""
    return shipped_in(SHIPPED)


def find_search(name: str) -> Path:
    """The file of that path, or the shipped search of that name (`search_spaces/NAME.yaml` works for both).

    Raises:
        UserError: there is neither.
    """
    return find_file(name, SHIPPED, noun="search")


def load_search(name: str, overrides: Sequence[str] = ()) -> SearchConfig:
    """Read a search file, lay overrides over it, and try its space.

    Raises:
        UserError: there is no such file.
        SpecError: with all errors at once.
    """
    path = find_search(name)
    needs = "a search file needs a baseline, a space and a budget"
    given, errors = read_draft(path, needs=needs, example="baseline: demo"), list[str]()
    search = _Reading(path, given, errors, _overridden(given, overrides, errors)).search()
    if errors or search is None:
        raise SpecError(" --set ".join([str(path), *overrides]), dict.fromkeys(errors))
    return search


def _overridden(given: dict[str, Any], texts: Sequence[str], errors: list[str]) -> list[Draft]:
    """Replace parts of the file; what is none of its parts comes back as settings of the baseline."""
    drafts: list[Draft] = []
    for text in texts:
        prefix = next((prefix for prefix in DOTTED if text.startswith(prefix)), None)
        if prefix is None:
            drafts += lay_over(given, [text], KEYS, errors).settings
            continue
        try:
            ((key, value),) = parse_override(text).items()
        except SpecError as error:
            errors += error.errors
            continue
        place: Any = given
        for part in prefix.strip(".").split("."):
            place[part] = below = place[part] if isinstance(place.get(part), dict) else {}
            place = below
        place[key.removeprefix(prefix)] = value
    return drafts


@dataclass
class _Reading:
    """One file while it is read; `errors` grows."""

    path: Path
    given: dict[str, Any]
    errors: list[str]
    over: list[Draft]

    def search(self) -> SearchConfig | None:
        self.errors += unknown_keys(self.given, KEYS)
        drafts = self._baseline()
        before = len(self.errors)
        space = space_of(self.given.get("space"), self.errors)
        well = len(self.errors) == before
        roles = section(self.given.get("roles"), "roles", _Roles, self.errors)
        parts = {
            "search": section(self.given.get("search"), "search", StrategyConfig, self.errors),
            "enqueue": section(self.given.get("enqueue"), "enqueue", EnqueueConfig, self.errors),
            "budget": section(self.given.get("budget"), "budget", SearchBudget, self.errors),
            "confirm": section(self.given.get("confirm"), "confirm", ConfirmConfig, self.errors),
        }
        search = SearchConfig(
            name=name_of(self.given, self.path, self.errors) or "search",
            about=about_of(self.given),
            drafts=tuple(drafts),
            seed=self._seed(),
            metric=self._metric(),
            space=space or SpaceConfig(),
            nuisance=roles.nuisance if roles else (),
            **{key: part for key, part in parts.items() if part is not None},
        )
        self._unread(search)
        self._roles_named(search)
        if parts["budget"] is not None:
            self._budget_given(search)
        if search.confirm.best and search.seed in search.confirm.seeds:
            self.errors.append(
                f"confirm.seeds: must be fresh, {search.seed} is the search's own; take another, as in [1, 2, 3]"
            )
        if self._builds(drafts):
            errors = strategy_errors(search) + space_errors(search)
            self.errors += errors or (drawing_errors(search) if well else [])
            self.errors += point_errors(search) + self._confirm_builds(search)
        return search

    def _seed(self) -> int:
        seed = self.given.get("seed", 0)
        if type(seed) is int and 0 <= seed < 2**63:
            return seed
        self.errors.append(f"seed: must be a whole number from 0, got {seed!r}")
        return 0

    def _metric(self) -> Metric:
        metric, legal = self.given.get("metric", "mrr"), get_args(Metric)
        if metric in legal:
            known: Metric = metric
            return known
        self.errors.append(f"metric: must be {', '.join(legal)}, got {metric!r}{nearest(str(metric), legal)}")
        return "mrr"

    def _baseline(self) -> list[Draft]:
        drafts = baseline_of(self.given, self.path, self.errors)
        if not drafts:
            return []
        drafts += settings_of(self.given, self.errors)
        drafts += self.over
        if any("seed" in draft for draft in drafts[1:]):
            self.errors.append("seed: the search has one, for sampling and training; give it there")
        return drafts

    def _builds(self, drafts: Sequence[Draft]) -> bool:
        if not drafts:
            return False
        try:
            build_chain(drafts, source=str(self.path))
        except SpecError as error:
            self.errors += error.errors
            return False
        return True

    def _confirm_builds(self, search: SearchConfig) -> list[str]:
        try:
            chain_of(search, search.confirm.settings)
        except SpecError as error:
            return [f"confirm.settings: {line}" for line in error.errors]
        return []

    def _budget_given(self, search: SearchConfig) -> None:
        """A grid and a beam end by themselves."""
        if search.search.strategy not in ("grid", "grade") and search.budget == SearchBudget():
            self.errors.append("budget: missing; give trials, hours or stages, as in budget: {trials: 30}")

    def _unread(self, search: SearchConfig) -> None:
        given, strategy = self.given.get("search"), search.search.strategy
        asked: Collection[str] = given if isinstance(given, dict) else ()
        if strategy != "grade":
            self.errors += [
                f"search.{key}: only strategy grade has it, got strategy: {strategy}; leave it out"
                for key in READ_BY_GRADE
                if key in asked
            ]
        if strategy == "grade":
            self.errors += [
                f"{section}.{key}: strategy grade goes from grade to grade and has none; {way}"
                for section, key, way in UNREAD_BY_GRADE
                if isinstance(self.given.get(section), dict) and self.given[section].get(key) is not None
            ]
        if strategy in ("grid", "random") and search.search.sampler != strategy and "sampler" in asked:
            self.errors.append(
                f"search.sampler: strategy {strategy} chooses without one, got {search.search.sampler}; leave it "
                "out, or use strategy: chain"
            )

    def _roles_named(self, search: SearchConfig) -> None:
        names = parameter_names(search)
        self.errors += [
            f"roles.nuisance: no parameter '{name}' in the space{nearest(name, names)} (it has {', '.join(names)})"
            for name in search.nuisance
            if name not in names
        ]
