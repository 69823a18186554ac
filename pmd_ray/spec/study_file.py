"""Ablation files: YAML in, a study with every chain written out; all errors of a file at once.

A variant's chain is built from drafts in this order: the baseline, the file's `settings`, what `--set` says of them,
the variant's difference (with what it inherits by `from:`), and one choice of the nuisance settings.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pmd_ray.spec.chain import ChainConfig
from pmd_ray.spec.chain_file import read_draft
from pmd_ray.spec.chain_stages import meaning
from pmd_ray.spec.draft import build_chain
from pmd_ray.spec.errors import SpecError, nearest
from pmd_ray.spec.file_parts import (
    about_of,
    baseline_of,
    find_file,
    name_of,
    said,
    section_of,
    settings_of,
    shipped_in,
    unknown_keys,
)
from pmd_ray.spec.presets import Draft
from pmd_ray.spec.study import BASELINE, ArmConfig, BudgetConfig, CompareConfig, RolesConfig, StudyConfig, VariantConfig
from pmd_ray.spec.study_overrides import Overrides, lay_over
from pmd_ray.spec.variants import Difference, cells_of, inherited, touched

SHIPPED = Path(__file__).resolve().parents[1] / "ablations"
KEYS = {
    "name": "What tables and folders call the study; by default the file's name.",
    "about": "What it asks, in a sentence or two.",
    "baseline": "A shipped chain, a preset, a chain file (from the study file's folder), or settings written here.",
    "settings": "Settings laid over the baseline, for every variant.",
    "variants": "Name to dotted differences; `from: OTHER` takes another variant's first.",
    "factors": "Factor to level to differences: every combination of levels is a variant.",
    "seeds": "Whole numbers, each once; variants are paired by them.",
    "roles": "scientific, nuisance and fixed settings.",
    "compare": "Questions: pairs, metric, grade, alternative, margin.",
    "budget": "hours, stages: the plan warns where they will not do.",
}
"""Keys of an ablation file; anything else given by `--set` is a setting of the baseline."""


def shipped_studies() -> list[str]:
    """Names of the ablation files inside the package."""
    return shipped_in(SHIPPED)


def find_study(name: str) -> Path:
    """The file of that path, or the shipped study of that name (`ablations/NAME.yaml` works for both).

    Raises:
        UserError: there is neither.
    """
    return find_file(name, SHIPPED, noun="ablation")


def load_study(name: str, overrides: Sequence[str] = ()) -> StudyConfig:
    """Read an ablation file, lay overrides over it, and write every chain out.

    Raises:
        UserError: there is no such file.
        SpecError: with all errors at once.
    """
    path = find_study(name)
    needs = "an ablation file needs a baseline, variants and seeds"
    given, errors = read_draft(path, needs=needs, example="baseline: demo"), list[str]()
    reading = _Reading(path, given, errors, lay_over(given, overrides, KEYS, errors))
    study = reading.study()
    if reading.errors or study is None:
        raise SpecError(" --set ".join([str(path), *overrides]), dict.fromkeys(reading.errors))
    return study


@dataclass
class _Reading:
    """One file while it is read; `errors` grows."""

    path: Path
    given: dict[str, Any]
    errors: list[str]
    over: Overrides
    drafts: list[Draft] = field(default_factory=list)
    """What every chain starts from."""

    def study(self) -> StudyConfig | None:
        self.errors += unknown_keys(self.given, KEYS)
        seeds = self._seeds()
        roles = section_of(self.given.get("roles"), "roles", RolesConfig, errors=self.errors) or RolesConfig()
        budget = section_of(self.given.get("budget"), "budget", BudgetConfig, errors=self.errors) or BudgetConfig()
        self.drafts = self._baseline()
        differences = self._differences()
        self._roles_kept(roles, differences)
        variants = self._variants(differences, roles, seeds[0] if seeds else 0)
        compare = self._compare([d.name for d in differences])
        name = name_of(self.given, self.path, self.errors)
        if self.errors or name is None:
            return None
        return StudyConfig(
            name=name,
            about=about_of(self.given),
            seeds=tuple(seeds),
            variants=tuple(variants),
            roles=roles,
            compare=compare,
            budget=budget,
        )

    def _seeds(self) -> list[int]:
        seeds = self.given.get("seeds")
        if seeds is None or seeds == []:
            self.errors.append("seeds: missing; give at least one, better three or more, as in seeds: [0, 1, 2]")
            return []
        if not isinstance(seeds, list) or not all(type(seed) is int and 0 <= seed < 2**63 for seed in seeds):
            self.errors.append(f"seeds: must list whole numbers from 0, as in [0, 1, 2], got {seeds!r}")
            return []
        twice = sorted({seed for seed in seeds if seeds.count(seed) > 1})
        if twice:
            self.errors.append(f"seeds: {', '.join(map(str, twice))} given twice; the same seed is the same run")
        return seeds

    def _baseline(self) -> list[Draft]:
        drafts = baseline_of(self.given, self.path, self.errors) + settings_of(self.given, self.errors)
        drafts += self.over.settings
        if any("seed" in draft for draft in drafts[1:]):
            self.errors.append("seed: a study has seeds; give them there")
        return drafts

    def _differences(self) -> list[Difference]:
        listed = inherited(self.given.get("variants"), self.errors, self.over.variants)
        cells = cells_of(self.given.get("factors"), self.errors)
        taken = {difference.name for difference in listed}
        self.errors += [f"factors: '{cell.name}' is also a variant's name" for cell in cells if cell.name in taken]
        if not listed and not cells and not self.errors:
            self.errors.append("variants: missing; name at least one, as in variants: {no_mgfd: {loss.beta: 0.0}}")
        return [Difference(BASELINE), *listed, *cells]

    def _roles_kept(self, roles: RolesConfig, differences: Sequence[Difference]) -> None:
        for difference in differences:
            for key in difference.settings:
                setting = touched(key)
                where = f"variants.{difference.name}.{key}"
                if any(_within(setting, role) for role in roles.fixed):
                    self.errors.append(f"{where}: roles.fixed says that no variant may change it")
                elif any(_within(setting, role) or _within(role, setting) for role in roles.nuisance):
                    self.errors.append(f"{where}: roles.nuisance tunes it for every variant alike; leave it out here")
                elif roles.scientific and not any(_within(setting, role) for role in roles.scientific):
                    self.errors.append(f"{where}: is not among roles.scientific ({', '.join(roles.scientific)})")
        for key, values in roles.nuisance.items():
            if len(values) < 2:
                self.errors.append(f"roles.nuisance.{key}: give two values or more, got {list(values)!r}")

    def _variants(self, differences: Sequence[Difference], roles: RolesConfig, seed: int) -> list[VariantConfig]:
        if not self.drafts:
            return []
        points = [dict(zip(roles.nuisance, p, strict=True)) for p in itertools.product(*roles.nuisance.values())]
        variants: list[VariantConfig] = []
        seen: dict[str, str] = {}
        for difference in differences:
            arms = [self._arm(difference, point, seed) for point in points]
            if not all(arms):
                if difference.name == BASELINE:  # every variant would repeat its errors
                    return []
                continue
            chains = [arm for arm in arms if arm is not None]
            if variants and (source := chains[0].chain.dataset.source) != variants[0].arms[0].chain.dataset.source:
                self.errors.append(
                    f"variants.{difference.name}.dataset.source: all variants are compared on the same test triples, "
                    f"got '{source}'; make a study of its own for it"
                )
            means = repr([meaning(arm.chain) for arm in chains])
            alias = seen.setdefault(means, difference.name)
            if alias != difference.name and not difference.factors:
                self.errors.append(
                    f"variants.{difference.name}: means the same as {_called(alias)}: what it sets changes nothing, or "
                    "is what is set there already; change it or leave it out"
                )
            variants.append(
                VariantConfig(
                    name=difference.name,
                    parent=None if difference.name == BASELINE else difference.parent,
                    difference=difference.settings,
                    factors=difference.factors,
                    alias_of=None if alias == difference.name else alias,
                    arms=tuple(chains),
                )
            )
        return variants

    def _arm(self, difference: Difference, point: dict[str, Any], seed: int) -> ArmConfig | None:
        where = "" if difference.name == BASELINE else f"variants.{difference.name}: "
        drafts = [*self.drafts, *difference.drafts, *([point] if point else []), {"seed": seed}]
        try:
            chain: ChainConfig = build_chain(drafts, source=str(self.path))
        except SpecError as error:
            self.errors += [f"{where}{line}" for line in error.errors]
            return None
        return ArmConfig(label=",".join(f"{key}={value}" for key, value in point.items()), chain=chain)

    def _compare(self, names: list[str]) -> tuple[CompareConfig, ...]:
        given = self.given.get("compare")
        if given is None:
            return (CompareConfig(),)
        if isinstance(given, dict):
            given = [given]
        if not isinstance(given, list):
            self.errors.append(f"compare: must list questions, as in [{{pairs: [[no_mgfd, baseline]]}}], got {given!r}")
            return ()
        asked: list[CompareConfig] = []
        for place, part in enumerate(given):
            try:
                question = CompareConfig.model_validate(part)
            except ValidationError as error:
                self.errors += said(error, f"compare.{place}", CompareConfig)
                continue
            kept = tuple(pair for pair in question.pairs if not self.over.left_out.intersection(pair))
            if question.pairs and not kept:
                continue
            question = question.model_copy(update={"pairs": kept})
            for pair in kept:
                unknown = [name for name in pair if name not in names]
                self.errors += [f"compare.{place}.pairs: no variant '{n}'{nearest(n, names)}" for n in unknown]
                if pair[0] == pair[1]:
                    self.errors.append(f"compare.{place}.pairs: '{pair[0]}' is compared with itself")
            asked.append(question)
        return tuple(asked) or (CompareConfig(),)


def _within(setting: str, role: str) -> bool:
    return setting == role or setting.startswith(f"{role}.")


def _called(name: str) -> str:
    return "the baseline" if name == BASELINE else f"variant '{name}'"
