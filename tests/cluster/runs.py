"""A small study run by the cluster as a job, and what its log and its storage say of it as it goes."""

from __future__ import annotations

import shlex
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from reference.tiny import write_graph

from cluster.hosts import SHARED
from cluster.twin import Cluster
from pmd_ray.spec.attempt import Attempt, AttemptState
from pmd_ray.spec.study_record import StudyRecord
from pmd_ray.store.store import Store

STUDY = f"""\
name: NAME
about: What does a run lose when a machine fails?
baseline:
  layers: [2]
  dataset: {{source: {SHARED}/graph}}
  encoder: {{name: scratch, dropout: 0.1, scratch: {{layers: 2, width: 32, heads: 4, vocabulary: 400}}}}
  optimiser: {{epochs: 14, batch: 4, lr: 1.0e-3}}
variants:
  shorter: {{optimiser.epochs: 8}}
seeds: [0]
"""
"""Two stages, of 15 s and less on cores of their own."""
STAGES = 2
VARIANTS = """\
variants:
  shorter: {optimiser.epochs: 8}
"""
ONE_STAGE = {VARIANTS: "factors: {none: {one: {}, two: {}}}\n"}
"""Variants that are the baseline."""
BRIEF = {"{epochs: 14": "{epochs: 3", "optimiser.epochs: 8": "optimiser.epochs: 2"}
"""Nothing happens while the stages are trained."""
LONG_S = 900.0
LOOK_S = 0.3
LOOK_AT_JOB_S = 5.0


@dataclass(frozen=True)
class Run:
    """A job that trains the study into a storage of its own."""

    cluster: Cluster
    name: str
    """Of the job, and of its folder in the shared one."""

    @classmethod
    def start(cls, cluster: Cluster, name: str, *options: str, changes: Mapping[str, str] | None = None) -> Run:
        """As `ray job submit` does, but that its file lies where all see it: nothing has to be sent.

        Args:
            options: Of `pmd ablate`.
            changes: Words of the study, and others in their place.
        """
        shared, place = cluster.hosts.shared, f"{SHARED}/{name}"
        if not (shared / "graph").exists():
            write_graph(shared / "graph")
        (shared / name).mkdir()
        study = STUDY
        for written, here in {"NAME": name, **(changes or {})}.items():
            assert written in study, written
            study = study.replace(written, here)
        (shared / name / "study.yaml").write_text(study, encoding="utf-8")
        kept = ["--storage", f"{place}/store", "--out", f"{place}/run", "--format", "csv"]
        cluster.submit(shlex.join(["pmd", "ablate", f"{place}/study.yaml", *kept, *options]), id=name)
        run = cls(cluster, name)
        run.until(lambda: (shared / name / "store" / "pmd-store.json").is_file(), "its storage")
        return run

    @property
    def store(self) -> Store:
        """Seen from outside."""
        return Store.open(self.cluster.hosts.shared / self.name / "store", create=False)

    @property
    def out(self) -> Path:
        """Record and report, likewise."""
        return self.cluster.hosts.shared / self.name / "run"

    def log(self) -> str:
        """What the command has said."""
        return self.cluster.logs(f"job-driver-{self.name}.log")

    def by_stage(self) -> dict[str, list[Attempt]]:
        """Attempts in order."""
        found = defaultdict[str, list[Attempt]](list)
        for attempt in self.store.attempts():
            found[attempt.key].append(attempt)
        return found

    def epochs(self) -> dict[str, int]:
        """How far each stage is."""
        return {key: reached(tries) for key, tries in self.by_stage().items()}

    def longest(self) -> str:
        """The stage that has most epochs before it."""
        (run,) = (run for run in self.record().runs if run.variant == "baseline")
        return run.stages[0].key

    def record(self) -> StudyRecord:
        """What the run is to train."""
        return StudyRecord.model_validate_json((self.out / "study.json").read_text(encoding="utf-8"))

    def await_epochs(self, least: int, *, stages: int = STAGES) -> None:
        """Wait until so many stages run and have kept so many epochs."""
        self.until(lambda: sum(epochs >= least for epochs in self.epochs().values()) >= stages, "epochs")

    def until(
        self, condition: Callable[[], bool], what: str, *, seconds: float = LONG_S, watched: bool = True
    ) -> float:
        """Seconds until it holds.

        Args:
            watched: Whether the job must not fail meanwhile.
        """
        begun, looked = time.monotonic(), 0.0
        while not condition():
            spent = time.monotonic() - begun
            assert spent < seconds, f"waited {spent:.0f} s for {what}; {self.epochs()}; {self.log()[-3000:]}"
            if watched and spent - looked > LOOK_AT_JOB_S:
                assert self.state() != "FAILED", f"waited for {what}; {self.log()[-3000:]}"
                looked = spent
            time.sleep(LOOK_S)
        return time.monotonic() - begun

    def state(self) -> str:
        """As Ray's job server has it."""
        return str(self.cluster.asked(f"/api/jobs/{self.name}")["status"])

    def succeed(self) -> None:
        """Wait for its end, which must be good."""
        self.until(lambda: self.state() not in ("PENDING", "RUNNING"), "the end", watched=False)
        assert self.state() == "SUCCEEDED", self.log()[-4000:]
        self.check_end()

    def check_end(self) -> None:
        """Every stage is whole, and its report is written."""
        tries = self.by_stage()
        assert tries.keys() == {stage.key for run in self.record().runs for stage in run.stages}, tries
        for key, attempts in tries.items():
            assert attempts[-1].state is AttemptState.DONE, attempts
            assert self.store.has(key) and not self.store.verify(key)
        assert (self.out / "tables" / "summary.csv").is_file()

    def running(self) -> str:
        """The stage that runs now; the first of them."""
        return next(key for key, tries in self.by_stage().items() if tries[-1].state is AttemptState.RUNNING)

    def lost(self) -> int:
        """Epochs begun and not kept: of the stage that lost most."""
        return max(
            sum(attempt.epochs_started for attempt in tries) - reached(tries) for tries in self.by_stage().values()
        )


def reached(tries: list[Attempt]) -> int:
    """Epochs that a stage has."""
    return tries[-1].first_epoch + tries[-1].epochs_finished
