"""Studies with artifacts made from drawn ranks: real files in a real store, nothing trained."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pmd_ray.plan.tree import build_tree
from pmd_ray.spec.attempt import Provenance
from pmd_ray.spec.chain_stages import Facts
from pmd_ray.spec.results import GradeResult, RankingReport
from pmd_ray.spec.study_file import load_study
from pmd_ray.spec.study_record import DatasetRecord, RunRecord, StageUse, StudyRecord
from pmd_ray.store.store import Store
from pmd_ray.train.ranks_file import RankRows, write_ranks
from pmd_ray.train.report import report_of

FILE = """\
about: Does masking help, and does the chain of teachers?
baseline:
  layers: [12, 12, 6, 3]
  dataset: {source: cldr}
  encoder: {name: scratch}
  mask_rates: [0.2, 0.1, 0.0]
  controls: true
variants:
  no_mgfd: {loss.beta: 0.0, mask.rate: 0.0}
  fixed_10: {mask.rate: 0.1}
  direct: {layers: [12, 3]}
seeds: [0, 1, 2]
compare:
  - question: Does a variant differ from the baseline?
  - question: Is the direct student not inferior?
    pairs: [[direct, baseline]]
    margin: 0.02
"""
RELATIONS = ("hypernym", "part of", "<script>alert(1)</script>", "=cmd|' /C calc'!A0")
CREATED = "2024-05-06T07:08:09+00:00"
Skill = Callable[[RunRecord, StageUse], float]
"""How good a stage is: 0 guesses among all entities, larger is better."""


@dataclass
class Made:
    """A study whose artifacts lie in a store."""

    record: StudyRecord
    store: Store
    folder: Path
    """A study's folder, as `pmd report` takes it."""
    uses: dict[str, tuple[RunRecord, StageUse]] = field(default_factory=dict)
    """The first use of each stage."""

    def key(self, variant: str, grade: str, seed: int, arm: str = "") -> str:
        """The key of one stage."""
        run = next(r for r in self.record.runs if (r.variant, r.seed, r.arm) == (variant, seed, arm))
        return next(use.key for use in run.stages if use.grade == grade)


def depth_decides(run: RunRecord, use: StageUse) -> float:
    """Deeper is better, a teacher's help too; variants differ by little, seeds by less."""
    names = {"no_mgfd": -0.25, "direct": -0.1, "fixed_10": 0.05}
    return 1.0 + 0.12 * use.layers + (0.0 if use.control_of else 0.6) + names.get(run.variant, 0.0)


def make_study(
    folder: Path,
    *,
    file: str = FILE,
    name: str = "synthetic",
    skill: Skill = depth_decides,
    triples: int = 60,
    entities: int = 200,
    relations: Sequence[str] = RELATIONS,
    without: Callable[[RunRecord, StageUse], bool] = lambda run, use: False,
    dataset: str = "cldr",
) -> Made:
    """Write the file, plan it, and publish an artifact for every stage but those that are left out."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.yaml").write_text(file, encoding="utf-8")
    study = load_study(str(folder / f"{name}.yaml"))
    tree = build_tree(study.runs(), lambda chain: Facts(dataset="d" * 64, encoder="e" * 64, device="cpu"))
    store = Store.open(folder / "store")
    record = StudyRecord(
        study=study,
        file=str(folder / f"{name}.yaml"),
        storage=str(folder / "store"),
        device="cpu",
        dataset=DatasetRecord(
            name=dataset,
            source=dataset,
            fingerprint="d" * 64,
            entities=entities,
            relations=len(relations),
            train=10 * triples,
            valid=triples,
            test=triples,
        ),
        encoders={"scratch": "e" * 64},
        created=CREATED,
        command=f"pmd ablate {name}.yaml",
        runs=tree.runs,
        keys=tuple(tree.stages),
    )
    (folder / "run").mkdir(exist_ok=True)
    (folder / "run" / "study.json").write_text(record.model_dump_json(indent=1), encoding="utf-8")
    store.register(f"{name}-{study.meaning[:12]}", record.model_dump_json())
    made = Made(record=record, store=store, folder=folder / "run")
    for run in record.runs:
        for use in run.stages:
            made.uses.setdefault(use.key, (run, use))
    for key, (run, use) in made.uses.items():
        if not without(run, use):
            publish(made, key, skill=skill(run, use), triples=triples, entities=entities, relations=relations)
    return made


def publish(
    made: Made,
    key: str,
    *,
    skill: float,
    triples: int = 60,
    entities: int = 200,
    relations: Sequence[str] = RELATIONS,
    changes: dict[str, Any] | None = None,
) -> None:
    """Write an artifact's files and publish them under its key."""
    _, use = made.uses[key]
    work = made.store.work(key)
    work.mkdir(parents=True, exist_ok=True)
    reports = {}
    for split in ("valid", "test"):
        reports[split], content = drawn(
            key, split, triples=triples, entities=entities, relations=tuple(relations), skill=skill
        )
        (work / f"{split}_ranks.parquet").write_bytes(content)
    result = GradeResult(
        name=use.grade,
        key=key,
        layers=use.layers,
        parameters=24_000_000 + 7_000_000 * use.layers,
        embedding_parameters=24_000_000,
        mask_rate=use.mask_rate,
        teacher=use.teacher,
        control_of=use.control_of,
        valid=reports["valid"],
        test=reports["test"],
        best_epoch=2,
        epochs=3,
        steps=300,
        seconds=40.0 + use.layers,
        cpu_seconds=80.0 + 2 * use.layers,
        unmasked_share=0.0,
    )
    result = result.model_copy(update=changes or {})
    (work / "result.json").write_text(result.model_dump_json(by_alias=True), encoding="utf-8")
    costs = {"latency_ms": {"1": 2.0 + use.layers, "256": 90.0 + 30 * use.layers}, "peak_memory_bytes": 1_500_000_000}
    costs |= {"gpu_memory_bytes": None, "device": "cpu-fp32", "threads": 1}
    (work / "costs.json").write_text(json.dumps(costs), encoding="utf-8")
    (work / "tensorboard").mkdir(exist_ok=True)
    (work / "tensorboard" / f"events.out.tfevents.1700000000.host.{int(key[:4], 16)}").write_bytes(curves(skill))
    provenance = Provenance(
        package="0.2.0",
        commit="0123456789abcdef0123456789abcdef01234567",
        dirty=False,
        versions={"torch": "2.6.0", "numpy": "2.1.0"},
        python="3.11.9",
        host="node7",
        cpu="Xeon 8480",
        cores=2,
        dataset="cldr",
        dataset_fingerprint="d" * 64,
        encoder="scratch",
        encoder_fingerprint="e" * 64,
        command="pmd ablate synthetic.yaml",
        threads=1,
    )
    made.store.publish(key, work, provenance=provenance, seconds=result.seconds, cpu_seconds=result.cpu_seconds)


@cache
def drawn(
    key: str, split: str, *, triples: int, entities: int, relations: tuple[str, ...], skill: float
) -> tuple[RankingReport, bytes]:
    """Metrics and ranks file of a stage's split; studies that share a stage share them."""
    asked = queries(triples, entities=entities, relations=len(relations))
    ranks = draw_ranks(key, split, triples=triples, entities=entities, skill=skill)
    rows = RankRows(
        queries=asked,
        ranks=ranks,
        scores=np.zeros(len(ranks), np.float32),
        top_ids=np.zeros((len(ranks), 1), np.int32),
        top_scores=np.zeros((len(ranks), 1), np.float32),
    )
    ids = [f"e{number}" for number in range(entities)]
    with TemporaryDirectory() as folder:
        write_ranks(Path(folder) / "ranks", rows, entity_ids=ids, relation_ids=relations)
        return report_of(ranks, asked[:, 1], relations, split=split), (Path(folder) / "ranks").read_bytes()


def queries(triples: int, *, entities: int, relations: int) -> NDArray[np.int64]:
    """[2 T, 3] every triple in both directions, as a ranking asks them."""
    luck = np.random.default_rng(7)
    heads, tails = luck.integers(0, entities, (2, triples))
    kinds = luck.integers(0, relations, triples)
    kinds[:relations] = np.arange(relations)
    forward, backward = np.stack([heads, kinds, tails], 1), np.stack([tails, kinds + relations, heads], 1)
    return np.stack([forward, backward], 1).reshape(-1, 3)


def draw_ranks(key: str, split: str, *, triples: int, entities: int, skill: float) -> NDArray[np.float64]:
    """[2 T] ranks: triples differ in how hard they are, alike for all stages; a stage adds its own luck."""
    hard = np.random.default_rng(11).normal(0.0, 1.5, (triples, 2))
    own = np.random.default_rng([int(key[:15], 16), len(split)])
    shift = own.normal(0.0, 0.06)
    logits = hard + own.normal(0.0, 0.7, (triples, 2)) - 1.3 * skill - shift + 2.2
    return np.clip(np.ceil(np.exp(logits)), 1, entities).reshape(-1)


def curves(skill: float) -> bytes:
    """An event file with two curves."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.record_writer import RecordWriter

    buffer = io.BytesIO()
    writer = RecordWriter(buffer)
    writer.write(Event(wall_time=1.7e9, file_version="brain.Event:2").SerializeToString())
    for step in range(1, 31):
        parts = [Summary.Value(tag="loss/total", simple_value=3.0 / (1 + 0.1 * skill * step))]
        parts += [Summary.Value(tag="valid/mrr", simple_value=0.1 * skill * step / 30)] if step % 10 == 0 else []
        writer.write(Event(wall_time=1.7e9 + step, step=step, summary=Summary(value=parts)).SerializeToString())
    return buffer.getvalue()
