"""Runs a study: plans its stages, records it, walks the tree on Ray. The same call goes on where it stopped."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pmd_ray.plan.identities import Device, Identities, identify
from pmd_ray.plan.tree import StageTree, build_tree
from pmd_ray.run.folder import locked, write_whole
from pmd_ray.run.graphs import bring_graph
from pmd_ray.run.study_events import ArtifactSetAside, StudyListener, unheard
from pmd_ray.run.walk import Walk, Walked
from pmd_ray.run.workers import WorkerPlan
from pmd_ray.spec.errors import UserError
from pmd_ray.spec.keys import digest
from pmd_ray.spec.places import Places
from pmd_ray.spec.study import StudyConfig
from pmd_ray.spec.study_changes import changes
from pmd_ray.spec.study_folder import RECORD, read_record
from pmd_ray.spec.study_record import RunHeader, StudyRecord
from pmd_ray.store.store import Store

if TYPE_CHECKING:
    from pmd_ray.run.ray_pool import RayPool
    from pmd_ray.run.stage_call import StudySetting


@dataclass(frozen=True, kw_only=True)
class StudyOptions:
    """How a study is run; nothing of it changes what is trained."""

    places: Places
    device: Device
    cpus: int = 1
    """Cores, and threads, of each stage."""
    gpus: float = 0.0
    """GPUs of each stage; a fraction shares one."""
    slots: int | None = None
    """Stages at once; None follows the cluster's size."""
    plan: WorkerPlan = field(default_factory=WorkerPlan)
    """Workers of each stage."""

    @property
    def gpus_of_stage(self) -> float:
        """All workers together; of an elastic group at the most."""
        return self.gpus if self.plan.local else float(self.plan.most) if self.plan.gpu else 0.0

    def header(self, identities: Identities, store: Store, *, file: str, overrides: Sequence[str]) -> RunHeader:
        """How a run that is started now was started.

        Raises:
            UserError: graph or encoder are not on this machine.
        """
        if identities.dataset is None:
            raise UserError("; ".join(identities.missing))
        return RunHeader(
            file=file,
            overrides=tuple(overrides),
            storage=store.location,
            device=self.device,
            threads=self.cpus,
            workers=self.plan.text,
            gpus=self.gpus,
            slots=self.slots,
            home=None if self.places.data_home is None else str(self.places.data_home),
            dataset=identities.dataset,
            encoders=identities.encoders,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            command=shlex.join(["pmd", *sys.argv[1:]]),
        )

    def setting(self, store: Store, *, study: str, command: str) -> StudySetting:
        """What all stages of a study share."""
        from pmd_ray.run.stage_call import StudySetting

        return StudySetting(
            storage=store.location,
            study=study,
            places=self.places,
            device=self.device,
            threads=self.cpus if self.device == "cpu" else None,
            plan=self.plan,
            command=command,
            gpus=self.gpus_of_stage,
        )

    @contextmanager
    def cluster(self, store: Store) -> Iterator[None]:
        """A Ray that holds such stages (`cluster_for`), all of whose nodes see the store (`probe_storage`)."""
        from pmd_ray.run.cluster import cluster_for
        from pmd_ray.run.probe import probe_storage

        with cluster_for(self.plan, cpus=self.cpus, gpus=self.gpus):
            probe_storage(store)
            yield

    def pool(self, setting: StudySetting, *, listen: StudyListener) -> RayPool:
        """Workers for them, inside the cluster."""
        from pmd_ray.run.ray_pool import RayPool

        return RayPool(setting, cpus=self.cpus, gpus=self.gpus, slots=self.slots, listen=listen)


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A study with its stages, checked, before anything is written."""

    record: StudyRecord
    tree: StageTree
    store: Store


def prepare(
    study: StudyConfig, store: Store, options: StudyOptions, *, file: str, overrides: Sequence[str] = ()
) -> Prepared:
    """Find every stage of a study.

    Raises:
        UserError: the graph is not there; an encoder cannot be loaded.
        SpecError: a grade asks for layers that its encoder or teacher lacks.
    """
    places = bring_graph(study.variants[0].arms[0].chain.dataset.source, options.places, store)
    identities = _identified(study, options.device, places)
    started = options.header(identities, store, file=file, overrides=overrides)
    tree = build_tree(study.runs(), identities.facts_of)
    record = StudyRecord(study=study, runs=tree.runs, keys=tuple(tree.stages), **started.header)
    return Prepared(record=record, tree=tree, store=store)


def _identified(study: StudyConfig, device: Device, places: Places) -> Identities:
    """The study's fingerprints; an encoder of the Hub is downloaded once where it is not there."""
    identities = identify(study, device=device, home=places.data_home, graphs=places.graphs)
    if identities.known or identities.dataset is None:
        return identities
    from pmd_ray.model.source import load_source

    for variant in study.variants:
        for arm in variant.arms:
            if arm.chain.encoder.name != "scratch":
                load_source(arm.chain.encoder)
    return identify(study, device=device, home=places.data_home, graphs=places.graphs)


def run_study(
    prepared: Prepared,
    out: Path,
    options: StudyOptions,
    *,
    cost: Mapping[str, float] | None = None,
    listen: StudyListener = unheard,
) -> Walked:
    """Train every stage that the store lacks; `out` gets the study's record.

    Args:
        cost: Estimated seconds of each stage, by which longer chains start first; layers by default.

    Raises:
        UserError: the folder holds another study, or another run is at work in it.
        StorageError: the storage refuses; what was finished is whole.
    """
    out = out.absolute()
    record, tree, store = prepared.record, prepared.tree, prepared.store
    earlier = read_record(out) if (out / RECORD).is_file() else None
    if earlier is not None:
        refuse_changed(earlier, record, out)
    with locked(out):
        if earlier is None:
            write_whole(out / RECORD, record.model_dump_json(indent=1))
        store.register(registered_name(record), record.model_dump_json())
        stored = _whole(store, store.stored(tree.stages), listen)
        estimated = {key: 1.0 * stage.grade.layers for key, stage in tree.stages.items()} | dict(cost or {})
        if stored >= tree.stages.keys():  # nothing to train: Ray's start would be all that it costs
            return Walked(done=stored)
        from pmd_ray.run.cluster_leases import keep_leases

        setting = options.setting(store, study=record.study.name, command=record.command)
        with options.cluster(store), options.pool(setting, listen=listen) as pool:
            return Walk(tree, keep_leases(store), pool, stored=stored, cost=estimated, listen=listen).run()


def registered_name(record: StudyRecord) -> str:
    """What a store calls a study: on another device, graph or encoder it has other stages, and another name."""
    return f"{record.study.name}-{record.study.meaning[:12]}-{digest(sorted(record.keys))[:8]}"


def _whole(store: Store, stored: set[str], listen: StudyListener) -> set[str]:
    """Of the stored stages, those whose results can be read; broken ones are set aside and trained again."""
    whole = set()
    for key in sorted(stored):
        problems = store.glance(key)
        if not problems:
            whole.add(key)
            continue
        reason = "; ".join(problems)
        store.set_aside(key, reason)
        listen(ArtifactSetAside(key, reason))
    return whole


def refuse_changed(before: StudyRecord, now: StudyRecord, out: Path) -> None:
    """A study's folder tells of one study: the numbers in it must mean what its file says.

    Raises:
        UserError: with the differences.
    """
    way = f"choose another folder with --out (what is equal is taken from the storage), or remove {out}"
    found = changes(before.study, now.study)
    if found:
        raise UserError("\n  ".join([f"{out} holds another version of this study:", *found]) + f"\n  {way}")
    if before.storage != now.storage:
        raise UserError(
            f"{out} holds this study with its stages in {before.storage}, not {now.storage}; go on with "
            f"--storage {before.storage}, or choose another folder with --out"
        )
    if before.dataset.fingerprint != now.dataset.fingerprint:
        raise UserError(f"{out} holds this study on another version of the graph '{now.dataset.source}'; {way}")
    if set(before.keys) != set(now.keys):
        raise UserError(
            f"{out} holds this study as it was trained by another encoder, device or version of pmd_ray (stage keys "
            f"differ); {way}"
        )
