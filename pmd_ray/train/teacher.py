"""The frozen teacher of a grade: run on the batch, or, where a loss wants vectors of clean text, encoded once.

The released code runs it in fp32 outside autocast, with a graph-building mode on, every epoch (method notes, C17).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from pmd_ray.kg.texts import Texts
from pmd_ray.model.bi_encoder import BiEncoder
from pmd_ray.model.device import to_device
from pmd_ray.model.encode import Packed, PackedPair, encode, pack
from pmd_ray.model.losses import States
from pmd_ray.model.outputs import Outputs, Side
from pmd_ray.spec.grade import GradeConfig
from pmd_ray.spec.ragged import Ints
from pmd_ray.train.batches import Batch, Batches, TextKeys, TowerBatch
from pmd_ray.train.precision import Autocast
from pmd_ray.train.vectors import empty_table
from pmd_ray.train.workers import Workers

Sight = Literal["masked", "clean"]
View = Literal["score", "feature"]


def is_constant(grade: GradeConfig, states: States) -> bool:
    """Whether all that a grade asks of its teacher are vectors of clean texts: they are encoded once.

    Args:
        states: Hidden states that its losses ask of the teacher.
    """
    return has_table(grade, states) and all(_sight(grade, view) == "clean" for view in _views(grade))


def has_table(grade: GradeConfig, states: States) -> bool:
    """Whether some loss asks the teacher for vectors of clean texts that no hidden states must come with.

    Args:
        states: Hidden states that its losses ask of the teacher.
    """
    clean = [view for view in _views(grade) if _sight(grade, view) == "clean"]
    return bool(clean) and not ("feature" in clean and _asks_states(grade, states))


def _views(grade: GradeConfig) -> list[View]:
    """The losses that ask the teacher."""
    weights: dict[View, float] = {"score": grade.loss.alpha, "feature": grade.loss.beta}
    return [view for view, weight in weights.items() if weight > 0]


def _sight(grade: GradeConfig, view: View) -> Sight:
    mask = grade.mask
    clean = mask.rate == 0.0 or mask.teacher_input == "clean" or (view == "score" and mask.for_score == "clean")
    return "clean" if clean else "masked"


def _asks_states(grade: GradeConfig, states: States) -> bool:
    """At mask rate 0 a feature loss that looks at masked tokens only looks at none.

    The last student of the paper's chain needs no teacher but the table.
    """
    nowhere = grade.mask.rate == 0.0 and getattr(grade.loss.feature, "when_unmasked", "nowhere") == "nowhere"
    return bool(states.layers) and grade.loss.beta > 0 and (states.first or states.mean or not nowhere)


@dataclass(frozen=True)
class TextTable:
    """Unit vectors of every distinct training text of one tower, by text key."""

    keys: Ints
    vectors: Tensor

    def rows(self, text_keys: Ints) -> Tensor:
        """[U, D] the vectors of the named texts."""
        places = to_device(np.searchsorted(self.keys, text_keys), self.vectors.device)
        return self.vectors[places]


class Teacher:
    """Hands out the teacher's outputs for a batch as the student's losses need them."""

    def __init__(
        self, model: BiEncoder, grade: GradeConfig, *, states: States, device: torch.device, autocast: Autocast
    ) -> None:
        self.model = model.to(device).eval().requires_grad_(False)
        self._grade = grade
        self._states = states
        self._device = device
        self._autocast = autocast
        self._tables: dict[str, TextTable] = {}
        self._asks_states = _asks_states(grade, states)

    def sight(self, view: View) -> Sight:
        """Whether the teacher sees masked or clean text for a loss."""
        return _sight(self._grade, view)

    def is_constant(self) -> bool:
        """Whether all that is asked of it are vectors of clean texts."""
        return is_constant(self._grade, self._states)

    def saves_by_table(self, batches: Batches, updates: int) -> bool:
        """Whether encoding every distinct training text once costs less than those of so many updates, one by one.

        Args:
            updates: Of the whole training, whatever is done already: one that was killed goes on as it began.
        """
        if not has_table(self._grade, self._states):
            return False
        of_batch = batches.batch * (3 if self._grade.loss.ce.self_negatives else 2)
        return sum(map(len, self._distinct(batches).values())) <= updates * of_batch

    def _distinct(self, batches: Batches) -> dict[str, Ints]:
        """The keys of each tower's training texts."""
        heads, relations, tails = batches.queries.T
        entity_keys = [batches.keys.entity(tails, batches.tail_left_out)]
        if self._grade.loss.ce.self_negatives:
            entity_keys.append(batches.keys.entity(heads, batches.head_left_out))
        return {
            "hr": np.unique(batches.keys.query(heads, relations, batches.head_left_out)),
            "tail": np.unique(np.concatenate(entity_keys)),
        }

    def tabulate(self, batches: Batches, workers: Workers, tick: Callable[[int, int], None]) -> None:
        """Encode every distinct training text once.

        Args:
            tick: Told how many of how many texts are done.
        """
        texts, wanted = batches.texts, self._distinct(batches)
        total, done = sum(len(keys) for keys in wanted.values()), 0
        for tower, keys in wanted.items():
            mine = np.array_split(keys, workers.size)[workers.rank]
            table_ND = empty_table(len(mine), self.model.width, workers)
            for start in range(0, len(mine), 4096):
                part = mine[start : start + 4096]
                table_ND[start : start + len(part)] = self._encode_keys(tower, part, texts, batches.keys)
                done += len(part) * workers.size
                tick(min(done, total), total)
            self._tables[tower] = TextTable(keys, workers.gather(table_ND))

    def _encode_keys(self, tower: str, keys: Ints, texts: Texts, numbering: TextKeys) -> Tensor:
        if tower == "hr":
            rows = texts.query_rows(*numbering.parts_of_query(keys))
        else:
            rows = texts.entity_rows(*numbering.parts_of_entity(keys))
        side = encode(
            getattr(self.model, tower),
            pack(rows, device=self._device),
            pooling=self.model.pooling,
            autocast=self._autocast,
        )
        return side.pooled_UD

    def looks_up(self, sight: Sight, *, with_states: bool) -> bool:
        """Whether a batch's outputs come from the table."""
        return bool(self._tables) and sight == "clean" and not (with_states and self._asks_states)

    def packed(self, batch: Batch, sight: Sight, *, with_states: bool) -> PackedPair | None:
        """A batch's texts as the teacher sees them; None where their outputs are looked up."""
        if self.looks_up(sight, with_states=with_states):
            return None
        states = self._states if with_states else States()
        return self._packed(batch.hr, sight, states), self._packed(batch.tail, sight, states)

    def outputs(self, batch: Batch, packed: PackedPair | None, *, with_states: bool) -> Outputs:
        """Outputs for a worker's share of a batch.

        Args:
            packed: What `packed` has made of it.
        """
        if packed is None:
            sides = (self._looked_up(*tower, with_states) for tower in (("hr", batch.hr), ("tail", batch.tail)))
            return Outputs(*sides)
        states = self._states if with_states else States()
        hr, tail = packed
        return Outputs(self._encoded(self.model.hr, hr, states), self._encoded(self.model.tail, tail, states))

    def _looked_up(self, tower: str, texts: TowerBatch, with_states: bool) -> Side:
        vectors = self._tables[tower].rows(texts.text_keys)
        layers, (count, width) = len(self._states.layers), vectors.shape
        asked = self._states if with_states else States()
        return Side(  # where a table will do, no token is watched
            vectors,
            tokens_KMD=vectors.new_zeros(layers, 0, width) if asked.tokens else None,
            watched_KUD=vectors.new_zeros(layers, count, width) if asked.watched else None,
        )

    def _packed(self, texts: TowerBatch, sight: Sight, states: States) -> Packed:
        hides = sight == "masked" and self._grade.mask.replace == "attention"
        return pack(
            texts.tokens,
            ids=texts.teacher_ids if sight == "masked" else None,
            hidden=texts.teacher_drawn.places if hides else None,
            watched=texts.watched if states.watches else None,
            device=self._device,
        )

    def _encoded(self, tower: nn.Module, packed: Packed, states: States) -> Side:
        return encode(tower, packed, pooling=self.model.pooling, states=states, autocast=self._autocast)
