"""Trains one grade from its configuration to its artifact; safe to call again after a crash.

A grade's folder appears when it is whole. Until then its checkpoints lie beside it in a hidden folder, and the next
call goes on from the last of them.
"""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from pmd_ray.kg.graph import Split
from pmd_ray.model.bi_encoder import BiEncoder
from pmd_ray.model.build import build_student
from pmd_ray.model.folder import ModelCard, load_trained, save_model
from pmd_ray.model.losses import Setting
from pmd_ray.model.operations import product_rate
from pmd_ray.model.source import Source, load_source
from pmd_ray.model.used_words import UsedWords
from pmd_ray.spec.chain import ChainConfig
from pmd_ray.spec.disk import storing
from pmd_ray.spec.encoder import EncoderConfig
from pmd_ray.spec.errors import EncoderError, NotFiniteError, StorageError
from pmd_ray.spec.grade import GradeConfig
from pmd_ray.spec.results import GradeResult
from pmd_ray.spec.streams import stream_key
from pmd_ray.train.ahead import ahead
from pmd_ray.train.batches import Batches, MaskWords
from pmd_ray.train.checkpoint import (
    Progress,
    load_model_file,
    model_tensors,
    read_progress,
    resume,
    save_checkpoint,
    whole_folder,
)
from pmd_ray.train.curves import Curves
from pmd_ray.train.epochs_file import EPOCHS, EpochValues, write_epochs
from pmd_ray.train.evaluate import Ranked, rank_split
from pmd_ray.train.events import (
    EpochDone,
    EpochKept,
    Event,
    GradeDone,
    GradeStarted,
    Listener,
    StepDone,
    StepKept,
    TextsEncoded,
    silent,
)
from pmd_ray.train.objective import Objective
from pmd_ray.train.optimise import Schedule, make_optimiser
from pmd_ray.train.precision import Autocast, autocast_for
from pmd_ray.train.ranks_file import write_ranks
from pmd_ray.train.step import Launched, Step, StepLog
from pmd_ray.train.teacher import Teacher
from pmd_ray.train.workers import Workers
from pmd_ray.train.workshop import Workshop

RESULT = "result.json"
DETAIL_EVERY = 10
"""Steps between two measurements of each loss part's gradient."""
KEEP_AGAIN_S = 20.0
"""Between two checkpoints of a training whose machine is about to be taken away."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One grade with its seed, dataset and teacher: plain values, so that it travels to any worker."""

    chain: ChainConfig
    grade: GradeConfig
    key: str
    out: Path
    """Appears when the grade is done."""
    teacher: Path | None
    """The teacher's model folder."""
    teacher_name: str | None = None
    curves: Path | None = None
    """TensorBoard event files."""
    control_of: str | None = None

    @property
    def work(self) -> Path:
        """Checkpoints while it trains."""
        return self.out.with_name(f".{self.out.name}.training")


def stored_result(out: Path, key: str) -> GradeResult | None:
    """The result of a finished grade of that stage key, or None."""
    path = out / RESULT
    if not path.is_file():
        return None
    result = GradeResult.model_validate_json(path.read_text(encoding="utf-8"))
    return result if result.key == key else None


def train_stage(
    stage: Stage,
    shop: Workshop,
    *,
    workers: Workers,
    listen: Listener = silent,
    after_epoch: Callable[[Progress], None] = lambda progress: None,
    leaving: Callable[[], bool] = lambda: False,
) -> GradeResult:
    """Train, select, evaluate and store one grade; call it on every worker.

    Args:
        after_epoch: Called after each epoch's checkpoint, on every worker.
        leaving: Whether this worker's machine is about to be taken away: asked after each step, and where any worker
            says so, there is a checkpoint within the epoch.

    Raises:
        NotFiniteError: the loss, its gradient or the model's vectors are not finite; the last good checkpoint is kept.
        StorageError: the disk refuses; the last good checkpoint is kept. Raised on every worker.
    """
    done = _leaders(stored_result(stage.out, stage.key), workers)
    if done is not None:
        if workers.leads:
            listen(GradeDone.of(done, reused=True))
        return done
    training = _Training(stage, shop, workers, listen if workers.leads else silent, leaving)
    try:
        training.run(after_epoch)
        return training.finish()
    except NotFiniteError as error:
        raise training.way_out(error) from None


def _leaders(result: GradeResult | None, workers: Workers) -> GradeResult | None:
    """What the leader found or made: the others may see another disk, or its files later, and have their own clocks."""
    told = workers.shared(result.model_dump_json(by_alias=True).encode() if result else b"")
    return GradeResult.model_validate_json(told) if told else None


class _Pace:
    """What the steps of an epoch took so far."""

    def __init__(self) -> None:
        self._begun, self._tokens, self._operations = time.perf_counter(), 0, 0

    def after(self, log: StepLog, peak: float) -> dict[str, float]:
        """Tokens a second and the share of a peak (operations a second), with one more step."""
        self._tokens += log.tokens
        self._operations += log.operations
        spent = time.perf_counter() - self._begun
        return {"tokens_per_second": self._tokens / spent, "utilisation": self._operations / spent / peak}


class _Training:
    """The state of one grade while it trains."""

    def __init__(
        self,
        stage: Stage,
        shop: Workshop,
        workers: Workers,
        listen: Listener,
        leaving: Callable[[], bool] = lambda: False,
    ) -> None:
        self.stage, self.shop, self.workers, self.listen, self.leaving = stage, shop, workers, listen, leaving
        self._kept_at = -math.inf
        self._wall, self._cpu = time.perf_counter(), time.process_time()
        self.grade = grade = stage.grade
        optimise = grade.optimiser
        self.autocast: Autocast = autocast_for(optimise, workers.device)
        self.seed = stage.chain.seed
        teacher = load_trained(stage.teacher, device=workers.device) if stage.teacher else None
        if teacher is not None and teacher.wordpieces.fingerprint != shop.source.wordpieces.fingerprint:
            raise EncoderError(f"grade '{grade.name}': its teacher reads another vocabulary; masks would not fit")
        self.model = self._student(teacher.model if teacher else None)
        self.objective = Objective(grade, self._setting(teacher.model if teacher else None)).to(workers.device)
        watches = self.objective.student_states.watches
        pieces = shop.source.wordpieces
        self.batches = Batches(
            shop.texts,
            grade,
            MaskWords(pieces.mask, pieces.size),
            seed=self.seed,
            watches=watches,
            rank=workers.rank,
            size=workers.size,
        )
        self.teacher = self._teacher(teacher.model) if teacher else None
        self.schedule = Schedule(optimise, self.batches.steps_per_epoch)
        self.parameters = self.model.parameter_count()
        self.words = UsedWords(self.model, self.batches.words())
        self.optimiser = make_optimiser(self.model, self.objective, optimise)
        self.step = Step(
            self.model,
            self.objective,
            self.teacher,
            self.batches,
            grade=grade,
            optimiser=self.optimiser,
            schedule=self.schedule,
            workers=workers,
            autocast=self.autocast,
            seed=self.seed,
        )
        self.progress = self._resumed()
        self.last_valid: tuple[int, Ranked] | None = None
        self.peak = math.inf
        self.pace = _Pace()
        self.waiting: Launched | None = None

    def _student(self, teacher: BiEncoder | None) -> BiEncoder:
        source = self._init_source()
        # Whatever is initialised at random (a projector, a tower's LayerNorm before loading) follows the seed.
        torch.manual_seed(stream_key(self.seed, "init") % 2**63)
        model = build_student(self.grade, self.stage.chain.encoder, source, teacher=teacher, sample=self.shop.sample)
        return model.to(self.workers.device).train()

    def _init_source(self) -> Source:
        wanted = self.grade.init.source
        if wanted in ("encoder", "teacher"):
            return self.shop.source
        other = load_source(EncoderConfig(name=wanted), seed=self.seed)
        if other.wordpieces.fingerprint != self.shop.source.wordpieces.fingerprint:
            raise EncoderError(f"grades.{self.grade.name}.init.source: '{wanted}' reads another vocabulary")
        return other

    def _setting(self, teacher: BiEncoder | None) -> Setting | None:
        if teacher is None:
            return None
        sequences = self.grade.mask.loss_sequences
        if not self.grade.loss.ce.self_negatives:
            sequences = tuple(name for name in sequences if name != "head")
        return Setting(
            student_layers=self.model.layers,
            teacher_layers=teacher.layers,
            student_width=self.model.width,
            teacher_width=teacher.width,
            loss_sequences=sequences,
        )

    def _teacher(self, model: BiEncoder) -> Teacher:
        return Teacher(
            model,
            self.grade,
            states=self.objective.teacher_states,
            device=self.workers.device,
            autocast=self.autocast,
        )

    def _resumed(self) -> Progress:
        with self.words.whole(settle=False):
            found = resume(
                self.stage.work,
                self.stage.key,
                workers=self.workers,
                model=self.model,
                objective=self.objective,
                optimiser=self.optimiser,
            )
        if found is None:
            return Progress(key=self.stage.key)
        progress, self.step.earlier = found
        self.words.pending = progress.pending_decay
        return progress

    def run(self, after_epoch: Callable[[Progress], None]) -> None:
        """All epochs that are left."""
        progress, epochs = self.progress, self.grade.optimiser.epochs
        self.listen(
            GradeStarted(
                self.grade.name,
                layers=self.model.layers,
                parameters=self.parameters,
                steps=epochs * self.batches.steps_per_epoch,
                done=progress.steps,
                epochs=epochs,
                epochs_done=progress.epoch,
                cpu_seconds=progress.cpu_seconds,
            )
        )
        if progress.epoch >= epochs:
            return
        # A constant teacher's vectors cost one pass over the distinct texts; after that they are looked up.
        updates = epochs * self.batches.steps_per_epoch
        if self.teacher is not None and self.teacher.saves_by_table(self.batches, updates):
            self.teacher.tabulate(self.batches, self.workers, self._tick("teacher"))
        self.peak = self._peak()
        folder = self.stage.curves if self.workers.leads else None
        curves = Curves(folder, from_step=progress.steps)
        try:
            for epoch in range(progress.epoch, epochs):
                self._epoch(epoch, curves)
                self.listen(EpochKept(self.grade.name, epoch=progress.epoch, cpu_seconds=progress.cpu_seconds))
                after_epoch(progress)
        finally:
            curves.close()

    def _peak(self) -> float:
        """Operations a second of plain products on all workers, each measured at the same time."""
        mine = product_rate(self.model.width, self.workers.device, self.autocast)
        return float(self.workers.total(torch.tensor([mine], dtype=torch.float64, device=self.workers.device))[0])

    def way_out(self, error: NotFiniteError) -> NotFiniteError:
        """The same error with its grade, what is kept, and what may help."""
        progress, work = self.progress, self.stage.work
        kept = read_progress(work, self.stage.key)
        return NotFiniteError(
            f"grade '{self.grade.name}': {error}, after {progress.steps} updates; "
            + (f"{kept.words} is kept in {work}" if kept else "no epoch was finished")
            + f". Lower optimiser.lr (now {self.grade.optimiser.lr:g}), "
            "raise optimiser.warmup_steps, or look at the curves"
        )

    def _epoch(self, epoch: int, curves: Curves) -> None:
        progress = self.progress
        self.model.train()
        self.pace = _Pace()
        first = progress.steps - epoch * self.batches.steps_per_epoch
        coming = ((number, self.step.ready(batch)) for number, batch in self.batches.epoch(epoch, first))
        for number, ready in ahead(coming):
            detailed = curves.wanted and number % DETAIL_EVERY == 0
            launched = self.step.launch(ready, epoch=epoch, step=number, done=progress.steps, detailed=detailed)
            self._tell_waiting(curves)
            self.waiting = launched
            if self.workers.device.type != "cuda":  # a GPU is given its next step before anybody waits for this one
                self._tell_waiting(curves)
            self.words.decayed(1.0 - launched.learning_rate * self.grade.optimiser.weight_decay)
            progress.steps += 1
            self._keep_if_leaving(curves)
        self._tell_waiting(curves)
        progress.epoch = epoch + 1
        with self.words.whole(settle=True):
            self._validate(curves)
            self._save(curves)

    def _tell_waiting(self, curves: Curves) -> None:
        """What the last step was like, unless that is told already."""
        launched, self.waiting = self.waiting, None
        if launched is None:
            return
        progress = self.progress
        try:
            log = launched.log()
        except NotFiniteError:
            progress.steps = launched.number - 1
            raise
        progress.unmasked_texts += log.unmasked_texts
        progress.texts += log.texts
        speed = self.pace.after(log, self.peak)
        curves.step(launched.number, log, **speed)
        self.listen(StepDone(self.grade.name, done=launched.number, loss=log.loss, **speed))

    def _validate(self, curves: Curves) -> None:
        """Choose by validation MRR, or keep the last epoch (the released code calls its last one best: 2.9, C19)."""
        progress, select = self.progress, self.grade.select
        ranked = self._rank("valid", sample=select.valid_triples)
        mrr = ranked.mrr()
        values = EpochValues(
            epoch=progress.epoch,
            metrics=ranked.metrics(),
            rr=ranked.reciprocal_ranks(of=len(self.shop.graph.valid)),
        )
        progress.valid_mrr.append(mrr)
        progress.epochs.append(values.model_dump(mode="json", by_alias=True))
        better = mrr > progress.best_mrr
        if better or select.checkpoint == "last":
            progress.best_epoch, progress.best_mrr = progress.epoch, mrr
        if select.valid_triples is None:
            self.last_valid = (progress.epoch, ranked)
        curves.validation(progress.steps, mrr)
        self.listen(
            EpochDone(
                self.grade.name,
                epoch=progress.epoch,
                epochs=self.grade.optimiser.epochs,
                valid_mrr=mrr,
                best=progress.best_epoch == progress.epoch,
                metrics=values.metrics,
                rr=values.rr,
            )
        )

    def _keep_if_leaving(self, curves: Curves) -> None:
        """All workers do the same: whose machine goes, and whether it is time again, is summed over them."""
        due = self.workers.leads and time.perf_counter() - self._kept_at >= KEEP_AGAIN_S
        if not all(self.workers.votes([self.leaving(), due])):
            return
        # A disk that refuses now costs the steps since the last epoch, as if nothing had been known.
        self._tell_waiting(curves)
        with contextlib.suppress(StorageError), self.words.whole(settle=False):
            self._save(curves, midway=True)
            progress = self.progress
            self.listen(StepKept(self.grade.name, done=progress.steps, cpu_seconds=progress.cpu_seconds))
        self._kept_at = time.perf_counter()

    def _save(self, curves: Curves, *, midway: bool = False) -> None:
        self._add_time()
        self.progress.midway, self.progress.pending_decay = midway, self.words.pending
        self.workers.lead(lambda: self._write_checkpoint(curves))

    def _write_checkpoint(self, curves: Curves) -> None:
        """The best file first: a checkpoint never names one that is not there."""
        progress, work = self.progress, self.stage.work
        curves.flush()
        if progress.best_epoch == progress.epoch and self._needs_best_file() and not progress.midway:
            self._write_best()
        save_checkpoint(
            work,
            progress,
            model=self.model,
            objective=self.objective,
            optimiser=self.optimiser,
            earlier=self.step.earlier,
        )
        for old in work.glob("best-*.safetensors"):
            if old != self._best_file():
                old.unlink()

    def _write_best(self) -> None:
        from safetensors.torch import save_file

        aside = self.stage.work / ".best.aside"
        with storing(self._best_file()):
            try:
                aside.parent.mkdir(parents=True, exist_ok=True)
                save_file(model_tensors(self.model), aside)
                with aside.open("rb") as file:
                    os.fsync(file.fileno())
                aside.replace(self._best_file())
            finally:
                aside.unlink(missing_ok=True)

    def _needs_best_file(self) -> bool:
        """The last epoch's weights are in its checkpoint already."""
        last = self.progress.epoch == self.grade.optimiser.epochs
        return self.grade.select.checkpoint == "best" and not last

    def _best_file(self) -> Path:
        return self.stage.work / f"best-{self.progress.best_epoch:04d}.safetensors"

    def _add_time(self) -> None:
        """Add this attempt's time since the last call; CPU time is that of all workers."""
        wall, cpu = time.perf_counter(), time.process_time()
        mine = torch.tensor([cpu - self._cpu], dtype=torch.float64, device=self.workers.device)
        self.progress.seconds += wall - self._wall
        self.progress.cpu_seconds += float(self.workers.total(mine)[0])
        self._wall, self._cpu = wall, cpu

    def _rank(self, split: Split, *, sample: int | None = None) -> Ranked:
        return rank_split(
            self.model,
            self.shop.texts,
            split,
            evaluation=self.stage.chain.evaluation,
            workers=self.workers,
            autocast=self.autocast,
            sample=sample,
            tick=self._tick(split),
        )

    def _tick(self, what: str) -> Callable[[int, int], None]:
        def tick(done: int, total: int) -> None:
            event: Event = TextsEncoded(self.grade.name, what=what, done=done, total=total)
            self.listen(event)

        return tick

    def finish(self) -> GradeResult:
        """Take the selected epoch, rank validation and test, and publish the grade's folder in one step."""
        with self.words.whole(settle=False):
            return self._finish()

    def _finish(self) -> GradeResult:
        progress, stage = self.progress, self.stage
        if progress.best_epoch != progress.epoch:
            load_model_file(self.model, self._best_file(), self.workers)
        fresh = self.last_valid is not None and self.last_valid[0] == progress.best_epoch
        valid = self.last_valid[1] if fresh and self.last_valid else self._rank("valid")
        test = self._rank("test")
        self._add_time()
        graph = self.shop.graph
        result = GradeResult(
            name=self.grade.name,
            key=stage.key,
            layers=self.model.layers,
            parameters=self.model.parameter_count(),
            embedding_parameters=self.model.embedding_count(),
            mask_rate=self.grade.mask.rate,
            teacher=stage.teacher_name,
            valid=valid.report(graph),
            test=test.report(graph),
            best_epoch=progress.best_epoch,
            epochs=progress.epoch,
            steps=progress.steps,
            seconds=progress.seconds,
            cpu_seconds=progress.cpu_seconds,
            unmasked_share=progress.unmasked_texts / progress.texts if progress.texts else 0.0,
            control_of=stage.control_of,
        )
        self.workers.lead(lambda: self._publish(result, valid, test))
        self.listen(GradeDone.of(result, reused=False))
        return _leaders(result, self.workers) or result

    def _publish(self, result: GradeResult, valid: Ranked, test: Ranked) -> None:
        stage = self.stage
        with whole_folder(stage.out) as aside:
            save_model(aside / "model", self.model, self.shop.source.wordpieces, self._card(result))
            for ranked in (valid, test):
                write_ranks(
                    aside / f"{ranked.split}_ranks.parquet",
                    ranked.rows(),
                    entity_ids=self.shop.graph.entity_ids,
                    relation_ids=self.shop.graph.relation_ids,
                )
            write_epochs(aside / EPOCHS, self.progress.epochs)
            (aside / "grade.yaml").write_text(_grade_yaml(stage), encoding="utf-8")
            (aside / RESULT).write_text(result.model_dump_json(indent=2, by_alias=True), encoding="utf-8")
        shutil.rmtree(stage.work, ignore_errors=True)

    def _card(self, result: GradeResult) -> ModelCard:
        chain = self.stage.chain
        return ModelCard(
            grade=self.grade.name,
            stage_key=self.stage.key,
            layers=self.model.layers,
            text=chain.dataset.text,
            encoder=chain.encoder,
            # In double: in float, log(1 / t) of the loaded model would differ in its last bit.
            temperature=math.exp(-self.model.log_inverse_t.item()),
            self_negatives=self.grade.loss.ce.self_negatives,
            dataset=self.shop.graph.name,
            dataset_source=chain.dataset.source,
            dataset_fingerprint=self.shop.graph.fingerprint,
            training={
                "mask_rate": result.mask_rate,
                "teacher": result.teacher,
                "valid_mrr": result.valid.all.mrr if result.valid else None,
                "test_mrr": result.test.all.mrr if result.test else None,
                "seed": self.seed,
                "epochs": result.epochs,
                "steps": result.steps,
            },
        )


def _grade_yaml(stage: Stage) -> str:
    plain: dict[str, Any] = stage.grade.model_dump(mode="json")
    head = {"stage_key": stage.key, "seed": stage.chain.seed, "teacher_grade": stage.teacher_name}
    return yaml.safe_dump({**head, **plain}, sort_keys=False, allow_unicode=True)
