"""What a search needs of Ray, started by its first round: cluster, pool of stages, desk and server."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from pmd_ray.run.search.results import Results
from pmd_ray.run.study import StudyOptions
from pmd_ray.run.study_events import StudyListener
from pmd_ray.spec.errors import UserError
from pmd_ray.spec.search_record import SearchRecord, TrialRecord
from pmd_ray.store.artifacts import ArtifactBroken
from pmd_ray.store.store import Store

if TYPE_CHECKING:
    from pmd_ray.run.search.desk import RemoteDesk
    from pmd_ray.run.search.server import StageServer

TUNE_DEFAULTS = {
    # Our own handler turns Ctrl-C into a clean stop; Tune's writes a snapshot that nobody reads.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    # Trials are written to TensorBoard from the record, which knows what Tune does not.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # Progress is ours to show.
    "RAY_AIR_NEW_OUTPUT": "0",
    # Why a trial failed is in its record; of a lost process that was replaced nobody need see a traceback.
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
}


class Machinery:
    """A context: nothing is started before `started` is called, and all of it ends with the block.

    Args:
        record: Of the search.
        store: Where its stages lie.
        options: How stages are trained.
        listen: Told what happens to stages.
    """

    def __init__(self, record: SearchRecord, store: Store, options: StudyOptions, *, listen: StudyListener) -> None:
        self._record, self._store, self._options, self._listen = record, store, options, listen
        self._results = Results(store, metric=record.search.metric, device=record.device)
        self._stack = contextlib.ExitStack()
        self._parts: tuple[StageServer, RemoteDesk] | None = None

    def __enter__(self) -> Machinery:
        self._stack.__enter__()
        return self

    def __exit__(self, *error: Any) -> bool | None:
        return self._stack.__exit__(*error)

    @property
    def trained(self) -> set[str]:
        """Keys of the stages that this run has trained."""
        return set(self._parts[0].trained) if self._parts else set()

    def started(self) -> tuple[StageServer, RemoteDesk]:
        """Server and desk.

        Raises:
            UserError: the cluster can never hold a stage.
        """
        if self._parts is None:
            self._parts = self._start()
        return self._parts

    def past(self, trials: Sequence[TrialRecord]) -> Iterator[dict[str, Any]]:
        """What earlier trials reported, with the reciprocal ranks that their stored stages have."""
        from pmd_ray.run.search.schedulers import results_of

        wants_ranks = self._record.search.search.pruner == "wilcoxon"
        for trial in trials:
            if trial.told is None:
                continue
            ranks = self._ranks(trial) if wants_ranks else {}
            for result in results_of(trial):
                yield {**result, "rr": ranks.get((result["grade"], result["grade_epoch"]), ())}

    def _ranks(self, trial: TrialRecord) -> dict[tuple[str, int], tuple[float, ...]]:
        found = {}
        for stage in trial.stages:
            with contextlib.suppress(ArtifactBroken, UserError):  # a stage that was never finished has none
                for epoch in self._results.grade(stage.key).epochs:
                    found[stage.grade, epoch.number] = epoch.rr
        return found

    def _start(self) -> tuple[StageServer, RemoteDesk]:
        for name, value in TUNE_DEFAULTS.items():
            os.environ.setdefault(name, value)
        # It misses the files of those loggers.
        logging.getLogger("ray.tune.analysis.experiment_analysis").setLevel(logging.ERROR)
        from pmd_ray.run.cluster_leases import keep_leases
        from pmd_ray.run.search.desk import RemoteDesk
        from pmd_ray.run.search.server import StageServer

        options, record = self._options, self._record
        setting = options.setting(self._store, study=record.id, command=record.command)
        enter = self._stack.enter_context
        enter(options.cluster(self._store))
        desk = enter(RemoteDesk())
        server = StageServer(desk, keep_leases(self._store), self._results, listen=self._listen)
        enter(server.serving(enter(options.pool(setting, listen=server.hear))))
        return server, desk
