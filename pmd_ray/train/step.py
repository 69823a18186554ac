"""One step of a grade: forward, losses over the global batch, backward, update.

Every worker computes the loss of the whole global batch from gathered vectors and sends the gradient of its own texts
back through its towers; the sum over workers is then the gradient of one worker with the whole batch (test:
tests/train/test_workers.py).

A lone worker hands a whole step to its device without waiting for it: what the step was like is read afterwards
(`Launched.log`), and an update that would not be finite is left out by the device itself (tests/train/test_step.py).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from pmd_ray.model.bi_encoder import BiEncoder, word_places, word_weights
from pmd_ray.model.device import ToHost, to_device
from pmd_ray.model.encode import Packed, PackedPair, Seeds, TowerPass, pack
from pmd_ray.model.losses import States
from pmd_ray.model.masking import Drawn
from pmd_ray.model.operations import WITH_BACKWARD, forward_operations
from pmd_ray.model.outputs import Facts, Outputs, Part, Role, Side, Watched
from pmd_ray.spec.errors import NotFiniteError
from pmd_ray.spec.grade import GradeConfig
from pmd_ray.spec.ragged import Ints
from pmd_ray.spec.streams import stream_key
from pmd_ray.train.batches import Batch, Batches, TowerBatch
from pmd_ray.train.objective import Objective, Views
from pmd_ray.train.optimise import Schedule
from pmd_ray.train.precision import Autocast
from pmd_ray.train.teacher import Sight, Teacher
from pmd_ray.train.workers import Workers


@dataclass
class EarlierTails:
    """Student vectors of the last batches' tails (pre-batch negatives), newest last."""

    vectors: list[Tensor]
    entities: list[Tensor]


@dataclass(frozen=True)
class StepLog:
    """What one step was like."""

    loss: float
    parts: dict[str, float]
    """Each part of the loss, unweighted."""
    part_gradients: dict[str, float]
    """Norm of each weighted part's gradient at the towers' outputs; empty where not asked for. A text that
    several workers hold counts once for each."""
    gradient: float
    """Norm of the whole gradient before clipping."""
    learning_rate: float
    temperature: float
    tokens: int
    """Tokens that the student encoded, over all workers, padding apart."""
    operations: int
    """Floating-point operations of the matrix products that these tokens need, the teacher's included."""
    unmasked_texts: int
    """Sequences that the feature loss looks at without any masked token, over all workers (factor mask.min_tokens)."""
    texts: int
    """Sequences that the feature loss looks at."""


@dataclass(frozen=True, kw_only=True)
class Ready:
    """A batch with all that can be made of it before the steps before it are done, on its way to the device."""

    batch: Batch
    student: dict[Sight, PackedPair]
    teacher: dict[Sight, PackedPair | None]
    """None where the teacher's outputs are looked up."""
    rows: dict[Role, Tensor]
    """[b] places among this worker's own texts."""
    watched: dict[str, Watched]
    """Of this worker's own texts, by tower."""
    negative_BB: Tensor
    head_negative_B: Tensor
    words: dict[str, Tensor]
    """[V] distinct words of this worker's own texts, by tower; empty where all words' gradients are exchanged."""


@dataclass(frozen=True)
class Shares:
    """How much of a global batch each worker has."""

    texts: dict[str, list[int]]
    """Of each tower."""
    watched: dict[str, list[int]]
    """Tokens of each tower that the feature loss looks at."""
    queries: list[int]
    words: dict[str, list[int]]
    """Distinct words of each tower, where they are counted."""

    @property
    def unwatched(self) -> Shares:
        """Of outputs that are looked up: they have no tokens."""
        return replace(self, watched={tower: [0] * len(counts) for tower, counts in self.watched.items()})

    @classmethod
    def of(cls, ready: Ready, workers: Workers) -> Shares:
        """Asked of all workers at once."""
        batch = ready.batch
        sides = (batch.hr, batch.tail)
        hr, tail, hr_watched, tail_watched, queries, *words = workers.counts(
            *(len(side.text_keys) for side in sides),
            *(len(side.watched.places) for side in sides),
            len(batch.queries),
            *map(len, ready.words.values()),
        )
        return cls(
            {"hr": hr, "tail": tail},
            {"hr": hr_watched, "tail": tail_watched},
            queries,
            dict(zip(ready.words, words, strict=True)),
        )


@dataclass(frozen=True, kw_only=True)
class Launched:
    """A step that the device may still be busy with."""

    number: int
    """Of the update, from 1."""
    learning_rate: float
    names: tuple[str, ...]
    """Of the parts."""
    detailed: tuple[str, ...]
    """Of the parts whose gradients were measured."""
    numbers: ToHost
    """Loss, gradient norm, log 1/t, the parts, the norms of their gradients."""
    counts: ToHost
    """Tokens, operations, unmasked texts, texts."""

    def log(self) -> StepLog:
        """What it was like, once it is done.

        Raises:
            NotFiniteError: the loss or its gradient is not finite, and the weights were left as they were; or the
                temperature ran away.
        """
        loss, gradient, log_inverse_t, *rest = self.numbers.read()
        parts, norms = rest[: len(self.names)], rest[len(self.names) :]
        if not math.isfinite(loss):
            raise NotFiniteError(f"the loss became {loss} at step {self.number}")
        if not math.isfinite(gradient):
            raise NotFiniteError(f"the gradient's norm became {gradient} at step {self.number}")
        if not abs(log_inverse_t) < 700.0:  # exp of more is no number
            raise NotFiniteError(f"the temperature ran away (log 1/t = {log_inverse_t:g}) at step {self.number}")
        tokens, operations, unmasked_texts, texts = self.counts.read()
        return StepLog(
            loss=loss,
            parts=dict(zip(self.names, parts, strict=True)),
            part_gradients=dict(zip(self.detailed, norms, strict=True)),
            gradient=gradient,
            learning_rate=self.learning_rate,
            temperature=math.exp(-log_inverse_t),
            tokens=int(tokens),
            operations=int(operations),
            unmasked_texts=int(unmasked_texts),
            texts=int(texts),
        )


class Step:
    """Holds what all steps of a grade share."""

    def __init__(
        self,
        model: BiEncoder,
        objective: Objective,
        teacher: Teacher | None,
        batches: Batches,
        *,
        grade: GradeConfig,
        optimiser: torch.optim.Optimizer,
        schedule: Schedule,
        workers: Workers,
        autocast: Autocast,
        seed: int,
    ) -> None:
        self.model, self.objective, self.teacher, self.batches = model, objective, teacher, batches
        self.grade, self.optimiser, self.schedule = grade, optimiser, schedule
        self.workers, self._autocast, self._seed = workers, autocast, seed
        self.earlier = EarlierTails([], [])
        self._dropout = any(isinstance(m, torch.nn.Dropout) and m.p > 0 for m in model.modules())

    def run(self, batch: Batch, *, epoch: int, step: int, done: int, detailed: bool) -> StepLog:
        """`ready` and `launch`, and wait for it.

        Raises:
            NotFiniteError: see `Launched.log`.
        """
        return self.launch(self.ready(batch), epoch=epoch, step=step, done=done, detailed=detailed).log()

    def ready(self, batch: Batch) -> Ready:
        """What a step needs of the host; another thread may make it while the step before is computed."""
        on, negatives = self.workers.device, self.batches.negatives(batch.all_queries)
        towers = {"hr": batch.hr, "tail": batch.tail}
        student = {sight: (self._packed(batch.hr, sight), self._packed(batch.tail, sight)) for sight in self._sights()}
        return Ready(
            batch=batch,
            student=student,
            teacher={}
            if self.teacher is None
            else {
                sight: self.teacher.packed(batch, sight, with_states=with_states)
                for sight, with_states in self._taught_sights(self.teacher)
            },
            rows={role: to_device(places, on) for role, places in batch.rows.items()},
            watched={
                tower: Watched(to_device(_row_of(texts, texts.watched), on), to_device(texts.watched.weights, on))
                for tower, texts in towers.items()
            },
            negative_BB=to_device(negatives[0], on),
            head_negative_B=to_device(negatives[1], on),
            words=self._words(student),
        )

    def _words(self, student: dict[Sight, PackedPair]) -> dict[str, Tensor]:
        """A GPU's exchange is fast, and counting what is on it would have to wait for it."""
        if self.workers.size == 1 or self.workers.device.type != "cpu":
            return {}
        found: dict[str, list[Tensor]] = {name: [] for name in self.model.towers}
        for pair in student.values():
            for side, packed in zip((self.model.hr, self.model.tail), pair, strict=True):
                for name, tower in self.model.towers.items():
                    if tower is side:
                        found[name].append(packed.word_ids)
        return {name: torch.unique(torch.cat(ids)) for name, ids in found.items()}

    def launch(self, ready: Ready, *, epoch: int, step: int, done: int, detailed: bool) -> Launched:
        """Train on one worker's share of a global batch.

        Args:
            epoch: From 0.
            step: Within the epoch, from 0.
            done: Updates before this one, over all epochs.
            detailed: Also measure each part's gradient.
        """
        batch, shares = ready.batch, Shares.of(ready, self.workers)
        passes = self._forward(ready, epoch, step)
        local = {sight: Outputs(hr.side, tail.side) for sight, (hr, tail) in passes.items()}
        merged, pieces = self._gathered(local, shares)
        taught = self._taught(ready, shares)
        facts = self._facts(ready, shares)
        parts = self.objective.parts(
            self.model, self._views(merged), self.teacher.model if self.teacher else None, taught, facts
        )
        total = self.objective.total(parts)
        norms = self._part_gradients(parts, merged) if detailed else {}
        self._forget_gradients()
        torch.autograd.backward(total)
        self._remember(merged[self._student_sight("label")], facts, batch)
        del taught, facts  # a large batch's are as much as a group's graph
        for sight, (hr, tail) in passes.items():
            hr.backward(_gradients(merged[sight].hr, pieces[sight]["hr"]))
            tail.backward(_gradients(merged[sight].tail, pieces[sight]["tail"]))
        self._exchange(ready, shares)
        norm = self._update(done, total.detach())
        told = [total, norm, self.model.log_inverse_t, *parts.values(), *norms.values()]
        return Launched(
            number=done + 1,
            learning_rate=float(self.optimiser.param_groups[0]["lr"]),
            names=tuple(parts),
            detailed=tuple(norms),
            numbers=ToHost(torch.stack([value.detach().double() for value in told])),
            counts=ToHost(self._counts(batch)),
        )

    def _forget_gradients(self) -> None:
        """Of the step before.

        Tables of words keep the memory of theirs: as much as 47 MB that the system hands out anew costs more than
        clearing it, and most of a small step's page faults.
        """
        tables = [word_weights(tower) for tower in self.model.towers.values()]
        kept = [(weights, weights.grad) for weights in tables if weights.grad is not None]
        self.optimiser.zero_grad(set_to_none=True)
        for weights, gradient in kept:
            weights.grad = gradient.zero_()

    def _exchange(self, ready: Ready, shares: Shares) -> None:
        """All workers' gradients, the same on each."""
        for name, tower in self.model.towers.items():
            weights, table = list(tower.parameters()), word_weights(tower)
            if name in ready.words:
                weights = [weight for weight in weights if weight is not table]
                self.workers.sum_rows(table, word_places(tower, ready.words[name]), lengths=shares.words[name])
            self.workers.sum_gradients(weights)
        self.workers.agree([self.model.log_inverse_t, *self.objective.parameters()])

    def _update(self, done: int, loss: Tensor) -> Tensor:
        """The gradient's norm before clipping; where that or the loss is not finite, nothing is updated."""
        weights = [weight for group in self.optimiser.param_groups for weight in group["params"]]
        norm = torch.nn.utils.clip_grad_norm_(weights, self.grade.optimiser.clip)
        self.schedule.apply(self.optimiser, done)
        # The fused optimiser asks the device whether to leave an update out, as it does for a scaled loss.
        self.optimiser.found_inf = (  # type: ignore[attr-defined]
            ~(norm.isfinite() & loss.isfinite())
        ).float()
        self.optimiser.step()
        return norm

    def _student_sight(self, view: str) -> Sight:
        mask = self.grade.mask
        clean = (
            mask.rate == 0.0
            or (view == "label" and mask.for_ce == "clean")
            or (view == "score" and mask.for_score == "clean")
        )
        return "clean" if clean else "masked"

    def _sights(self) -> list[Sight]:
        """The views of the batch that the student must see."""
        views = ["label"]
        views += ["score"] if self.objective.has_score else []
        views += ["feature"] if self.objective.has_feature else []
        return sorted({self._student_sight(view) for view in views})

    def _states(self, sight: Sight) -> States:
        """Hidden states that the losses ask of the student there."""
        asks = self.objective.has_feature and sight == self._student_sight("feature")
        return self.objective.student_states if asks else States()

    def _forward(self, ready: Ready, epoch: int, step: int) -> dict[Sight, tuple[TowerPass, TowerPass]]:
        return {
            sight: (self._pass("hr", hr, sight, epoch, step), self._pass("tail", tail, sight, epoch, step))
            for sight, (hr, tail) in ready.student.items()
        }

    def _packed(self, texts: TowerBatch, sight: Sight) -> Packed:
        hides, watches = sight == "masked" and self.grade.mask.replace == "attention", self._states(sight).watches
        return pack(
            texts.tokens,
            ids=texts.student_ids if sight == "masked" else None,
            hidden=texts.drawn.places if hides else None,
            watched=texts.watched if watches else None,
            numbers=texts.numbers,
            group_rows=self.grade.optimiser.micro_batch,
            device=self.workers.device,
        )

    def _pass(self, tower: str, packed: Packed, sight: Sight, epoch: int, step: int) -> TowerPass:
        name = ("dropout", epoch, step, tower, sight)
        seeds = Seeds(stream_key(self._seed, *name), stream_key(self._seed, *name, self.workers.rank))
        return TowerPass(
            getattr(self.model, tower),
            packed,
            pooling=self.model.pooling,
            states=self._states(sight),
            recompute=self.grade.optimiser.micro_batch is not None,
            seeds=seeds if self._dropout else None,
            autocast=self._autocast,
        )

    def _gathered(
        self, local: dict[Sight, Outputs], shares: Shares
    ) -> tuple[dict[Sight, Outputs], dict[Sight, dict[str, tuple[slice, slice]]]]:
        """Leaves that hold all workers' rows, and which of them are this worker's."""
        if self.workers.size == 1:
            everything = {tower: (slice(None), slice(None)) for tower in ("hr", "tail")}
            return local, dict.fromkeys(local, everything)
        merged = {sight: self._of_all(outputs, shares, leaf=True) for sight, outputs in local.items()}
        mine = {tower: (self._mine(texts), self._mine(shares.watched[tower])) for tower, texts in shares.texts.items()}
        return merged, dict.fromkeys(local, mine)

    def _of_all(self, outputs: Outputs, shares: Shares, *, leaf: bool) -> Outputs:
        """All workers' rows."""

        def of(side: Side, tower: str) -> Side:
            def gathered(tensor: Tensor, dim: int, lengths: list[int]) -> Tensor:
                found = self.workers.gather(tensor, dim, lengths=lengths)
                return found.requires_grad_() if leaf else found

            lengths = {"text": shares.texts[tower], "token": shares.watched[tower]}
            nothing = not sum(shares.watched[tower])

            def whole(part: Part) -> Tensor:
                if part.name == "watched_KUD" and nothing:  # zeros need not be sent
                    layers, _, width = part.tensor.shape
                    zeros = part.tensor.new_zeros(layers, sum(lengths["text"]), width)
                    return zeros.requires_grad_() if leaf else zeros
                return gathered(part.tensor, part.dim, lengths[part.per])

            return side.changed(whole)

        return Outputs(of(outputs.hr, "hr"), of(outputs.tail, "tail"))

    def _mine(self, counts: list[int]) -> slice:
        start = sum(counts[: self.workers.rank])
        return slice(start, start + counts[self.workers.rank])

    def _views(self, merged: dict[Sight, Outputs]) -> Views:
        def of(view: str, asked: bool) -> Outputs:
            return merged[self._student_sight(view)] if asked else merged[self._student_sight("label")]

        return Views(
            of("label", True), of("score", self.objective.has_score), of("feature", self.objective.has_feature)
        )

    def _taught_sights(self, teacher: Teacher) -> list[tuple[Sight, bool]]:
        """The views of the batch that the teacher is asked for, and whether with hidden states."""
        score_sight, feature_sight = teacher.sight("score"), teacher.sight("feature")
        wanted = {score_sight} if self.objective.has_score else set()
        wanted |= {feature_sight} if self.objective.has_feature else set()
        asks = self.objective.has_feature and bool(self.objective.teacher_states.layers)
        return [(sight, asks and sight == feature_sight) for sight in sorted(wanted)]

    def _operations(self, batch: Batch) -> int:
        """Of this worker's matrix products: distinct texts without padding, nothing computed twice."""
        lengths = np.concatenate([batch.hr.tokens.ids.lengths, batch.tail.tokens.ids.lengths])
        total = len(self._sights()) * WITH_BACKWARD * forward_operations(lengths, self.model.config, self.model.layers)
        if self.teacher is not None:
            model, sights = self.teacher.model, self._taught_sights(self.teacher)
            for sight, states in sights:
                if not self.teacher.looks_up(sight, with_states=states):
                    total += forward_operations(lengths, model.config, model.layers)
        return int(total)

    def _taught(self, ready: Ready, shares: Shares) -> Views | None:
        if self.teacher is None or not (self.objective.has_score or self.objective.has_feature):
            return None
        made: dict[Sight, Outputs] = {}
        for sight, with_states in self._taught_sights(self.teacher):
            packed = ready.teacher[sight]
            outputs = self.teacher.outputs(ready.batch, packed, with_states=with_states)
            made[sight] = self._of_all(outputs, shares.unwatched if packed is None else shares, leaf=False)
        unread = next(iter(made.values()))
        score = made.get(self.teacher.sight("score"), unread)
        return Views(score, score, made.get(self.teacher.sight("feature"), unread))

    def _facts(self, ready: Ready, shares: Shares) -> Facts:
        """What is true of the global batch: rows count on over the workers' texts."""
        gather, rank, batch = self.workers.gather, self.workers.rank, ready.batch
        offsets = {tower: sum(counts[:rank]) for tower, counts in shares.texts.items()}
        rows: dict[Role, Tensor] = {
            role: gather(places + offsets["hr" if role == "hr" else "tail"], lengths=shares.queries)
            for role, places in ready.rows.items()
        }
        watched = {
            tower: Watched(
                gather(own.row_M + offsets[tower], lengths=shares.watched[tower]),
                gather(own.weight_M, lengths=shares.watched[tower]),
            )
            for tower, own in ready.watched.items()
        }
        earlier = earlier_negative = None
        if self.earlier.vectors:
            earlier = torch.cat(self.earlier.vectors)
            tails = torch.cat(self.earlier.entities).cpu().numpy()
            earlier_negative = to_device(self.batches.earlier_negatives(batch.all_queries, tails), self.workers.device)
        return Facts(
            rows=rows,
            negative_BB=ready.negative_BB,
            head_negative_B=ready.head_negative_B,
            watched={"hr": watched["hr"], "tail": watched["tail"]},
            earlier_ND=earlier,
            earlier_negative_BN=earlier_negative,
        )

    def _remember(self, outputs: Outputs, facts: Facts, batch: Batch) -> None:
        kept = self.grade.loss.ce.pre_batch
        if not kept:
            return
        answers = torch.as_tensor(batch.all_queries[:, 2].copy())
        self.earlier.vectors = [*self.earlier.vectors, outputs.tail.pooled_UD.detach()[facts.rows["tail"]]][-kept:]
        self.earlier.entities = [*self.earlier.entities, answers][-kept:]

    def _part_gradients(self, parts: dict[str, Tensor], merged: dict[Sight, Outputs]) -> dict[str, Tensor]:
        leaves = [
            output.tensor
            for outputs in merged.values()
            for side in (outputs.hr, outputs.tail)
            for output in side.parts()
        ]
        norms = {}
        for name, part in self.objective.weighted(parts).items():
            if part.requires_grad:
                found = torch.autograd.grad(part, leaves, retain_graph=True, allow_unused=True)
                squares = [gradient.square().sum() for gradient in found if gradient is not None]
                norms[name] = torch.stack(squares).sum().sqrt() if squares else part.new_zeros(())
        return norms

    def _counts(self, batch: Batch) -> Tensor:
        """[4] tokens, operations, unmasked texts and texts of all workers; a lone worker's never leave the host."""
        sides = (batch.hr, batch.tail)
        tokens = len(self._sights()) * sum(len(side.tokens.ids.values) for side in sides)
        texts = empty = 0
        if self.objective.student_states.watches:
            for role in self.grade.mask.loss_sequences:
                if role in batch.rows:
                    side = batch.hr if role == "hr" else batch.tail
                    masked = np.zeros(len(side.text_keys), dtype=bool)
                    masked[_row_of(side, side.drawn)] = True
                    texts += len(batch.rows[role])
                    empty += int((~masked[batch.rows[role]]).sum())
        mine = torch.tensor([tokens, self._operations(batch), empty, texts])
        return mine if self.workers.size == 1 else self.workers.total(mine.to(self.workers.device))


def _row_of(texts: TowerBatch, drawn: Drawn) -> Ints:
    """[M] the text that each drawn token belongs to."""
    rows: Ints = np.searchsorted(texts.tokens.ids.offsets, drawn.places, side="right") - 1
    return rows


def _gradients(side: Side, mine: tuple[slice, slice]) -> Side:
    """The gradients of this worker's own rows; zeros where a loss did not use an output."""
    parts = dict(zip(("text", "token"), mine, strict=True))
    return side.changed(lambda part: _gradient(part.tensor)[(slice(None),) * part.dim + (parts[part.per],)])


def _gradient(tensor: Tensor) -> Tensor:
    return torch.zeros_like(tensor) if tensor.grad is None else tensor.grad
