"""All that the report of a search says, computed from its record and the store before anything is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pmd_ray.report.best_file import best_chain, best_trial, best_yaml
from pmd_ray.report.contents import Contents, contents
from pmd_ray.report.search_confirmed import Confirmed, confirmed_sentences, sentence_for
from pmd_ray.report.search_fronts import Front, Incumbent, fronts, incumbents
from pmd_ray.report.search_importance import Importance, importances
from pmd_ray.report.search_isolation import Isolated, isolated
from pmd_ray.report.search_parallel import Parallel, parallels
from pmd_ray.report.search_plots import Slice, WeightMap, slices, weight_maps
from pmd_ray.report.search_ranges import Edge, edges
from pmd_ray.report.search_sharing import Sharing, sharing
from pmd_ray.report.search_trials import Round, rounds_of
from pmd_ray.spec.search_record import SearchRecord
from pmd_ray.spec.study_record import StudyRecord

if TYPE_CHECKING:
    from pmd_ray.store.store import Store


@dataclass(frozen=True, kw_only=True)
class SearchContents:
    """What tables, figures, page and best files are made of."""

    record: SearchRecord
    rounds: tuple[Round, ...]
    sharing: Sharing
    importances: tuple[Importance, ...]
    isolated: tuple[Isolated, ...]
    edges: tuple[Edge, ...]
    incumbents: tuple[Incumbent, ...]
    fronts: tuple[Front, ...]
    slices: tuple[Slice, ...]
    parallels: tuple[Parallel, ...]
    weights: tuple[WeightMap, ...]
    study: Contents | None
    """Of the confirming study; None: nothing was scored on test."""
    confirmed: tuple[Confirmed, ...]
    best_files: dict[str, str]
    """Name to content; none where no whole chain is done."""

    @property
    def gpu(self) -> bool:
        """Whether hours are those of GPUs."""
        return self.record.device != "cpu"


def search_contents(record: SearchRecord, store: Store, *, confirmed: StudyRecord | None) -> SearchContents:
    """Compute it.

    Raises:
        UserError: The confirmation's artifacts rank different test triples.
        StorageError: The storage does not answer.
    """
    rounds = rounds_of(record)
    shared = sharing(record, store)
    study = contents(confirmed, store) if confirmed is not None else None
    return SearchContents(
        record=record,
        rounds=rounds,
        sharing=shared,
        importances=tuple(importances(rounds)),
        isolated=tuple(isolated(rounds, record.search.nuisance)),
        edges=tuple(edges(record, rounds)),
        incumbents=tuple(incumbents(record, rounds, shared.costs)),
        fronts=tuple(fronts(rounds, gpu=record.device != "cpu")),
        slices=tuple(slices(rounds)),
        parallels=tuple(parallels(rounds)),
        weights=tuple(weight_maps(rounds)),
        study=study,
        confirmed=tuple(confirmed_sentences(study)) if study is not None else (),
        best_files=_best_files(record, study),
    )


def _best_files(record: SearchRecord, study: Contents | None) -> dict[str, str]:
    """`best.yaml`, and `best-LAYERS.yaml` for each depth where there are several."""
    depths = sorted({trial.layers[-1] for trial in record.trials}, reverse=True)
    there = [depth for depth in depths if best_trial(record, target=depth) is not None]
    wanted: dict[str, int | None] = {"best.yaml": None} if there else {}
    wanted |= {f"best-{depth}.yaml": depth for depth in there if len(there) > 1}
    return {name: _best_file(record, depth, study) for name, depth in wanted.items()}


def _best_file(record: SearchRecord, target: int | None, study: Contents | None) -> str:
    trial = best_trial(record, target=target)
    told = None
    if study is not None and trial is not None:
        told = sentence_for(study, best_chain(record, trial))
    return best_yaml(record, target=target, confirmed_sentence=told)
