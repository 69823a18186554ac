"""Runs a tower over texts in length-sorted groups, keeping or recomputing the graph (gradient caching).

Shapes: U texts, R texts of a group, L tokens, D width, K layers, M watched tokens, V distinct word ids.

Losses see detached outputs; their gradients are then sent back through each group. With `recompute` a group's graph
lives only while its own gradient is taken (Gao et al. 2021), so memory does not grow with the batch. Word vectors are
gathered once a pass: a dense gradient of the whole table for every group would cost more than a small group itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, normalize

from pmd_ray.model.bi_encoder import Pooling, word_weights
from pmd_ray.model.losses import States
from pmd_ray.model.outputs import Side
from pmd_ray.spec.ragged import Ints, Ragged, TokenRows

GROUP_ROWS = 64
"""Texts of a group at most, where gradient caching asks for no fewer."""


@dataclass(frozen=True)
class Group:
    """Texts of similar length, padded to the longest of them."""

    rows: Tensor
    """[R] their places among all U."""
    words: Tensor
    """[R, L] places in the pass's distinct word ids."""
    segments: Tensor
    attended: Tensor
    """[R, L] True where a token takes part in attention and pooling."""
    watched: Tensor
    """[m] places in the flat [R * L] states."""
    watched_places: Tensor
    """[m] their places among all M."""


@dataclass(frozen=True)
class Packed:
    """All texts of one pass through one tower."""

    groups: list[Group]
    word_ids: Tensor
    """[V] distinct word ids, rising."""
    texts: int
    watched: int
    tokens: int
    """Real tokens, padding apart."""


def pack(
    tokens: TokenRows,
    *,
    ids: Ragged | None = None,
    hidden: Ints | None = None,
    watched: Ints | None = None,
    group_rows: int = GROUP_ROWS,
    device: torch.device | str = "cpu",
) -> Packed:
    """Sort texts by length into groups of at most `group_rows`.

    Args:
        tokens: U texts.
        ids: Masked ids in place of the texts' own.
        hidden: Flat places that attention and pooling leave out.
        watched: Flat places [M] whose states the losses ask for.
    """
    ids = tokens.ids if ids is None else ids
    word_ids, words = np.unique(ids.values, return_inverse=True)
    attended = np.ones(len(ids.values), dtype=bool)
    if hidden is not None:
        attended[hidden] = False
    watch_number = np.full(len(ids.values), -1, dtype=np.int64)
    count = 0 if watched is None else len(watched)
    if watched is not None:
        watch_number[watched] = np.arange(count)
    flat = (words.astype(np.int64), tokens.segments.values.astype(np.int64), attended, watch_number)
    order = np.argsort(ids.lengths, kind="stable")
    groups = [
        _group(order[start : start + group_rows], ids, flat, device) for start in range(0, len(order), group_rows)
    ]
    return Packed(groups, torch.as_tensor(word_ids.astype(np.int64), device=device), len(ids), count, len(ids.values))


def _group(rows: Ints, ids: Ragged, flat: tuple[Any, ...], device: torch.device | str) -> Group:
    lengths = ids.lengths[rows]
    longest = int(lengths.max())
    inside = np.arange(longest)[None, :] < lengths[:, None]
    places = (ids.offsets[rows][:, None] + np.arange(longest)[None, :])[inside]
    words, segments, attended, watch_number = (_padded(column[places], inside) for column in flat)
    watch_number[~inside] = -1
    watched = np.flatnonzero(watch_number.ravel() >= 0)
    return Group(
        rows=torch.as_tensor(rows, device=device),
        words=torch.as_tensor(words, device=device),
        segments=torch.as_tensor(segments, device=device),
        attended=torch.as_tensor(attended, device=device),
        watched=torch.as_tensor(watched, device=device),
        watched_places=torch.as_tensor(watch_number.ravel()[watched], device=device),
    )


def _padded(values: np.ndarray, inside: np.ndarray) -> np.ndarray:
    padded = np.zeros(inside.shape, dtype=values.dtype)
    padded[inside] = values
    return padded


def run_group(tower: nn.Module, word_table: Tensor, group: Group, states: States, pooling: Pooling) -> Side:
    """One group through the tower; `word_table` is [V, D]."""
    out: Any = tower(
        inputs_embeds=embedding(group.words, word_table),
        token_type_ids=group.segments,
        attention_mask=group.attended.long(),
        output_hidden_states=bool(states.layers),
    )
    last_RLD = _at_least_fp32(out.last_hidden_state)
    pooled_RD = last_RLD[:, 0] if pooling == "cls" else _mean(last_RLD, group.attended)
    tokens = first = mean = None
    if states.tokens:
        flat = [out.hidden_states[layer].flatten(0, 1)[group.watched] for layer in states.layers]
        tokens = _at_least_fp32(torch.stack(flat))
    if states.first:
        first = _at_least_fp32(torch.stack([out.hidden_states[layer][:, 0] for layer in states.layers]))
    if states.mean:
        mean = torch.stack([_mean(_at_least_fp32(out.hidden_states[at]), group.attended) for at in states.layers])
    return Side(normalize(pooled_RD, dim=-1), tokens, first, mean)


def _mean(states_RLD: Tensor, attended_RL: Tensor) -> Tensor:
    """[R, D] mean over the tokens that take part."""
    weight_RL1 = attended_RL.to(states_RLD.dtype)[:, :, None]
    return (states_RLD * weight_RL1).sum(1) / weight_RL1.sum(1).clamp(min=1.0)


def _at_least_fp32(states: Tensor) -> Tensor:
    """Losses add up many small terms: half precision goes up, double stays."""
    return states.float() if states.dtype in (torch.bfloat16, torch.float16) else states


def encode(
    tower: nn.Module,
    packed: Packed,
    *,
    pooling: Pooling,
    states: States | None = None,
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> Side:
    """Outputs of all texts without a graph; the caller puts the tower into evaluation mode."""
    states = states or States()
    with torch.inference_mode(), autocast():
        table = embedding(packed.word_ids, word_weights(tower))
        sides = [run_group(tower, table, group, states, pooling) for group in packed.groups]
    return _joined(packed, sides, table.detach(), states)


class TowerPass:
    """A forward pass whose outputs are leaves for the losses, and whose backward pass is called afterwards.

    Args:
        tower: In training mode where dropout is wanted.
        packed: Texts of the pass.
        states: Which hidden states to hand out.
        recompute: Run each group again in `backward` instead of keeping its graph.
        seed: Called with a group's number before it runs, so that dropout repeats in the second run.
        autocast: Makes the context for mixed precision.
    """

    def __init__(
        self,
        tower: nn.Module,
        packed: Packed,
        *,
        pooling: Pooling,
        states: States,
        recompute: bool,
        seed: Callable[[int], None],
        autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ) -> None:
        self._tower, self._packed, self._pooling, self._states = tower, packed, pooling, states
        self._seed, self._autocast = seed, autocast
        self._table = embedding(packed.word_ids, word_weights(tower)).detach().requires_grad_()
        if recompute:
            with torch.no_grad():
                sides = list(self._forward())
            self._kept: list[Side] | None = None
        else:
            sides = self._kept = list(self._forward())
        self.side = _leaves(_joined(packed, sides, self._table.detach(), states))

    def _forward(self) -> Iterator[Side]:
        for number, group in enumerate(self._packed.groups):
            self._seed(number)
            with self._autocast():
                yield run_group(self._tower, self._table, group, self._states, self._pooling)

    def backward(self, gradients: Side) -> None:
        """Send the gradients of the leaves back into the tower's weights (added to what is there)."""
        for side, group in zip(self._kept or self._forward(), self._packed.groups, strict=True):
            pairs = [(side.pooled_UD, gradients.pooled_UD[group.rows])]
            if side.tokens_KMD is not None and gradients.tokens_KMD is not None:
                pairs.append((side.tokens_KMD, gradients.tokens_KMD[:, group.watched_places]))
            if side.first_KUD is not None and gradients.first_KUD is not None:
                pairs.append((side.first_KUD, gradients.first_KUD[:, group.rows]))
            if side.mean_KUD is not None and gradients.mean_KUD is not None:
                pairs.append((side.mean_KUD, gradients.mean_KUD[:, group.rows]))
            torch.autograd.backward([output for output, _ in pairs], [gradient for _, gradient in pairs])
        self._kept = None
        self._scatter_word_gradient()

    def _scatter_word_gradient(self) -> None:
        weights = word_weights(self._tower)
        if self._table.grad is None or not weights.requires_grad:
            return
        if weights.grad is None:
            weights.grad = torch.zeros_like(weights)
        weights.grad.index_add_(0, self._packed.word_ids, self._table.grad)
        self._table.grad = None


def _joined(packed: Packed, sides: Sequence[Side], word_table: Tensor, states: States) -> Side:
    """Group outputs in the order of the texts."""
    groups = packed.groups
    if not groups:  # A worker's share of a last, small batch may be empty.
        none = word_table.new_zeros(len(states.layers), 0, word_table.shape[-1])
        asked = (none if wanted else None for wanted in (states.tokens, states.first, states.mean))
        return Side(none.new_zeros(0, none.shape[-1]), *asked)
    rows = torch.argsort(torch.cat([group.rows for group in groups]))
    tokens = first = mean = None
    if sides[0].tokens_KMD is not None:
        places = torch.argsort(torch.cat([group.watched_places for group in groups]))
        tokens = torch.cat([side.tokens_KMD for side in sides if side.tokens_KMD is not None], dim=1)[:, places]
    if sides[0].first_KUD is not None:
        first = torch.cat([side.first_KUD for side in sides if side.first_KUD is not None], dim=1)[:, rows]
    if sides[0].mean_KUD is not None:
        mean = torch.cat([side.mean_KUD for side in sides if side.mean_KUD is not None], dim=1)[:, rows]
    return Side(torch.cat([side.pooled_UD for side in sides])[rows], tokens, first, mean)


def _leaves(side: Side) -> Side:
    def leaf(tensor: Tensor | None) -> Tensor | None:
        return None if tensor is None else tensor.detach().requires_grad_()

    others = (leaf(states) for states in (side.tokens_KMD, side.first_KUD, side.mean_KUD))
    return Side(side.pooled_UD.detach().requires_grad_(), *others)
