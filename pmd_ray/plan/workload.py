"""What of a stage decides its cost: sizes of its networks, what the teacher is asked, texts of a batch, steps."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from pmd_ray.model.losses import Setting, States
from pmd_ray.plan.identities import Identities
from pmd_ray.plan.text_counts import Reading
from pmd_ray.plan.tree import PlannedStage, StageTree, build_tree
from pmd_ray.spec import plugins
from pmd_ray.spec.chain_stages import device_class
from pmd_ray.spec.grade import GradeConfig
from pmd_ray.spec.study_record import StudyRecord

Asked = Literal["nothing", "once", "every step"]


@dataclass(frozen=True, kw_only=True)
class Workload:
    """Equal workloads but for steps and epochs cost alike, step for step."""

    dataset: str
    """Fingerprint of the graph."""
    encoder: str
    """By name: another seed's weights from scratch cost alike."""
    device: str
    """With the precision, as `cpu-fp32`."""
    layers: int
    width: int
    weights: int
    """Of both towers."""
    teacher_layers: int
    """0 without a teacher, or where nothing is asked of it."""
    teacher_width: int
    teacher_weights: int
    teacher: Asked
    """A teacher that sees clean text only is encoded once and looked up."""
    sights: int
    """Forward passes of the student over a batch: 2 where a loss reads clean text while another reads masked text."""
    reading: Reading
    recomputes: bool
    """Gradient caching runs each forward pass twice."""
    micro_batch: int | None
    reranks: bool
    valid_triples: int | None
    keeps_best: bool
    steps_per_epoch: int
    epochs: int

    @property
    def steps(self) -> int:
        """Updates of the whole stage."""
        return self.steps_per_epoch * self.epochs

    @property
    def kind(self) -> Workload:
        """The same for stages of another length."""
        return replace(self, steps_per_epoch=1, epochs=1)


def workloads(tree: StageTree, identities: Identities) -> dict[str, Workload]:
    """The workload of every stage, by key."""
    found: dict[str, Workload] = {}
    for key, stage in tree.stages.items():
        found[key] = _workload(stage, identities, found[stage.teacher_key] if stage.teacher_key else None)
    return found


def workloads_of(record: StudyRecord, identities: Identities) -> dict[str, Workload]:
    """The workloads of an earlier study of the same graph and encoders; empty where it is of others."""
    names = {arm.chain.encoder.name for variant in record.study.variants for arm in variant.arms}
    same = identities.dataset is not None and record.dataset.fingerprint == identities.dataset.fingerprint
    if not same or not names - {"scratch"} <= identities.sizes.keys():
        return {}
    earlier = replace(identities, device=record.device, encoders=record.encoders)
    return workloads(build_tree(record.study.runs(), earlier.facts_of), earlier)


def _workload(stage: PlannedStage, identities: Identities, teacher: Workload | None) -> Workload:
    chain, grade, facts = stage.chain, stage.grade, identities.facts_of(stage.chain)
    optimiser, mask, sizes = grade.optimiser, grade.mask, identities.sizes_of(stage.chain)
    width = _width(grade, sizes.width, teacher)
    asked = teacher_is_asked(grade, teacher.layers, width, teacher.width) if teacher else "nothing"
    runs = teacher if asked != "nothing" else None
    queries = identities.texts.queries()
    batch = min(optimiser.batch, max(2, queries))
    whole, rest = divmod(queries, batch)
    steps = max(1, whole if optimiser.drop_last or not rest else whole + 1)
    return Workload(
        dataset=facts.dataset,
        encoder=chain.encoder.name,
        device=device_class(optimiser, facts.device),
        layers=grade.layers,
        width=width,
        weights=sizes.weights(grade.layers, width) * (2 if chain.encoder.towers == "separate" else 1),
        teacher_layers=runs.layers if runs else 0,
        teacher_width=runs.width if runs else 0,
        teacher_weights=runs.weights if runs else 0,
        teacher=asked,
        sights=_sights(grade, taught=teacher is not None),
        reading=Reading(
            text=chain.dataset.text,
            batch=batch,
            heads=grade.loss.ce.self_negatives,
            apart=mask.per == "occurrence",
        ),
        recomputes=optimiser.micro_batch is not None,
        micro_batch=optimiser.micro_batch,
        reranks=chain.evaluation.rerank is not None,
        valid_triples=grade.select.valid_triples,
        keeps_best=grade.select.checkpoint == "best",
        steps_per_epoch=min(steps, optimiser.steps_per_epoch or steps),
        epochs=optimiser.epochs,
    )


def teacher_is_asked(grade: GradeConfig, teacher_layers: int, width: int, teacher_width: int) -> Asked:
    """Whether a grade runs its teacher at every step, or once over the distinct texts.

    The last student of the paper's chain, at mask rate 0, needs no more than the table of its teacher's vectors.
    """
    loss, mask = grade.loss, grade.mask
    weights = {"score": loss.alpha, "feature": loss.beta}
    views = [view for view, weight in weights.items() if weight > 0]
    if not views:
        return "nothing"
    if any(not _sees_clean(grade, view) for view in views):
        return "every step"
    states = States()
    if loss.beta > 0:
        setting = Setting(grade.layers, teacher_layers, width, teacher_width, mask.loss_sequences)
        states = plugins.load("loss", loss.feature.name).needs(loss.feature, setting)[1]
    looks_nowhere = mask.rate == 0.0 and getattr(loss.feature, "when_unmasked", "nowhere") == "nowhere"
    return "every step" if states.layers and (states.first or states.mean or not looks_nowhere) else "once"


def _sees_clean(grade: GradeConfig, view: str) -> bool:
    mask = grade.mask
    return mask.rate == 0.0 or mask.teacher_input == "clean" or (view == "score" and mask.for_score == "clean")


def _sights(grade: GradeConfig, *, taught: bool) -> int:
    mask, loss = grade.mask, grade.loss
    if mask.rate == 0.0:
        return 1
    seen = {mask.for_ce == "clean"}
    if taught and loss.alpha > 0:
        seen.add(mask.for_score == "clean")
    if taught and loss.beta > 0:
        seen.add(False)
    return len(seen)


def _width(grade: GradeConfig, encoder_width: int, teacher: Workload | None) -> int:
    if grade.init.width is not None:
        return grade.init.width
    return teacher.width if teacher and grade.init.source == "teacher" else encoder_width
