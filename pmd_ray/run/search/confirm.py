"""The study that confirms a search: the best chains and the default, over fresh seeds, scored on test."""

from __future__ import annotations

from pathlib import Path

from pmd_ray.run.folder import write_whole
from pmd_ray.run.search.rounds import best_of, differing
from pmd_ray.spec.chain_stages import meaning
from pmd_ray.spec.disk import storing
from pmd_ray.spec.enqueued import enqueued
from pmd_ray.spec.points import chain_of, targets_of
from pmd_ray.spec.search import SearchConfig
from pmd_ray.spec.search_chain import confirmed_chain
from pmd_ray.spec.search_folder import RECORD as SEARCH
from pmd_ray.spec.search_record import PAPER, SearchRecord, TrialRecord
from pmd_ray.spec.study import BASELINE, ArmConfig, CompareConfig, StudyConfig, VariantConfig
from pmd_ray.spec.study_changes import changes
from pmd_ray.spec.study_folder import RECORD, read_record
from pmd_ray.store.store import Store


def candidates(record: SearchRecord) -> list[TrialRecord]:
    """The trials to confirm: at each depth the best ones that are not the default, at most `confirm.best`.

    Those within one standard error of the best cannot be told from it by the search (one seed), so they come along;
    others do not. Source: Hastie et al. 2009, 7.10 (one-standard-error rule).
    """
    search = record.search
    last = _last_round(record)
    default = meaning(chain_of(search, {}))
    found: list[TrialRecord] = []
    for depth in dict.fromkeys(trial.layers[-1] for trial in last):  # children of several parents stand side by side
        trials = [trial for trial in last if trial.layers[-1] == depth]
        others = [trial for trial in trials if meaning(chain_of(search, trial.settings)) != default]
        best = best_of(others, len(others))
        if not best:
            continue
        least = (best[0].value or 0.0) - (best[0].standard_error or 0.0)
        close = [trial for trial in best if (trial.value or 0.0) >= least]
        found += close[: search.confirm.best]
    return found


def confirming_study(record: SearchRecord) -> StudyConfig | None:
    """The study of the candidates against the default; None where there is nothing to confirm."""
    search = record.search
    chosen = candidates(record)
    if not chosen or not search.confirm.best:
        return None
    default = _variant(BASELINE, search, {})
    seen = [meaning(default.arms[0].chain)]
    found: list[VariantConfig] = []
    papers: list[VariantConfig] = []
    for trial in chosen:
        _add(found, seen, _variant(f"trial-{trial.number}", search, trial.settings))
    if not found:
        return None
    for name, settings in _papers(search, {trial.layers[-1] for trial in chosen}).items():
        _add(papers, seen, _variant(name, search, settings))
    against_paper = tuple((one.name, paper.name) for one in found for paper in papers if _depth(one) == _depth(paper))
    return StudyConfig(
        name=f"{search.name}-confirmed"[:80],
        about=f"Are the chains that the search {search.name} found better than its default? Fresh seeds, test split.",
        seeds=search.confirm.seeds,
        variants=(default, *found, *papers),
        compare=(
            _asked(search, "the default", tuple((one.name, BASELINE) for one in found)),
            *([_asked(search, "the paper's setting", against_paper)] if against_paper else []),
        ),
    )


def note_confirmed(record: SearchRecord, store: Store, out: Path, *, folder: str) -> SearchRecord:
    """Write down, in the store and in the search's folder, where the study lies that confirms it."""
    record = record.model_copy(update={"confirm": folder})
    store.register(record.id, record.model_dump_json())
    write_whole(out.absolute() / SEARCH, record.model_dump_json(indent=1))
    return record


def make_way(folder: Path, study: StudyConfig) -> None:
    """Let go of the record of another confirmation: more trials found another winner. Its stages stay in the store.

    Raises:
        UserError: the record cannot be read.
        StorageError: it cannot be removed.
    """
    place = folder / RECORD
    if place.is_file() and changes(read_record(folder).study, study):
        with storing(place):
            place.unlink(missing_ok=True)


def _asked(search: SearchConfig, what: str, pairs: tuple[tuple[str, str], ...]) -> CompareConfig:
    question = f"Is a chain that was found better than {what}?"
    return CompareConfig(question=question, pairs=pairs, metric=search.metric, alternative="greater")


def _add(variants: list[VariantConfig], seen: list[list[str]], variant: VariantConfig) -> None:
    """Add a variant unless another means the same: what differed may be what the confirmation lays over."""
    means = meaning(variant.arms[0].chain)
    if means not in seen:
        seen.append(means)
        variants.append(variant)


def _papers(search: SearchConfig, depths: set[int]) -> dict[str, dict[str, object]]:
    """The paper's setting at each depth that something was found for."""
    if search.search.strategy == "grade":
        return {}
    found = {}
    for target in targets_of(search):
        for point in enqueued(search, target=target):
            depth = chain_of(search, point.settings).grades[-1].layers
            if point.name == PAPER and depth in depths:
                found[PAPER if target is None or len(depths) == 1 else f"{PAPER}-{depth}"] = point.settings
    return found


def _depth(variant: VariantConfig) -> int:
    return variant.arms[0].chain.grades[-1].layers


def _variant(name: str, search: SearchConfig, settings: dict[str, object]) -> VariantConfig:
    return VariantConfig(
        name=name,
        parent=None if name == BASELINE else BASELINE,
        difference=differing(search, settings),
        arms=(ArmConfig(chain=confirmed_chain(search, settings)),),
    )


def _last_round(record: SearchRecord) -> list[TrialRecord]:
    """The trials of whole chains: all of them, or those of a beam's last grade."""
    if record.search.search.strategy != "grade":
        return list(record.trials)
    whole = len(chain_of(record.search, {}).grades)
    return [trial for trial in record.trials if len(trial.layers) == whole]
