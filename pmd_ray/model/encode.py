"""Runs a tower over texts in length-sorted groups, keeping or recomputing the graph (gradient caching).

Shapes: U texts, R texts and T tokens of a group, L tokens of its longest, D width, K layers, M watched tokens, V
distinct word ids.

Losses see detached outputs; their gradients are then sent back through each group. With `recompute` a group's graph
lives only while its own gradient is taken (Gao et al. 2021), so memory does not grow with the batch. Word vectors are
gathered once a pass: a dense gradient of the whole table for every group would cost more than a small group itself.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, normalize

from pmd_ray.model import packed_bert
from pmd_ray.model.bi_encoder import Pooling, word_places, word_weights
from pmd_ray.model.device import to_device
from pmd_ray.model.losses import States
from pmd_ray.model.masking import Drawn
from pmd_ray.model.outputs import Part, Side, Watched
from pmd_ray.spec.chunks import GROUP_TOKENS
from pmd_ray.spec.ragged import Ints, Ragged, TokenRows


@dataclass(frozen=True)
class Seeds:
    """What a pass's dropout follows."""

    texts: int
    """With a text's number: its draws, where it is encoded without padding. The same on all workers."""
    groups: int
    """With a group's number: what torch is seeded with before it runs. Each worker's own."""

    @classmethod
    def unseeded(cls) -> Seeds:
        """As torch's generator has it: another one each time."""
        return cls(int(torch.randint(1 << 62, (1,)).numpy()[0]), 0)


@dataclass(frozen=True)
class Group:
    """Texts of similar length, end to end, shorter ones first."""

    rows: Tensor
    """[R] their places among all U."""
    numbers: tuple[int, ...]
    """(R) of the texts, by which dropout is drawn."""
    lengths: Tensor
    """[R] tokens of each."""
    starts: Tensor
    """[R] where each begins among the T."""
    buckets: tuple[tuple[int, int], ...]
    """(texts, tokens of each) of equal length, in order."""
    words: Tensor
    """[T] places in the pass's distinct word ids."""
    segments: Tensor
    """[T] token types."""
    positions: Tensor
    """[T] places in their texts."""
    attended: Tensor | None
    """[T] False where attention and pooling leave a token out; None where they leave out none."""
    watched: Tensor
    """[m] places among the T."""
    watched_places: Tensor
    """[m] their places among all M."""
    drawn: Watched
    """[m] which of the R texts each is in, and how often it was drawn."""

    @property
    def longest(self) -> int:
        """Tokens of the longest text."""
        return self.buckets[-1][1]

    def laid_out(self, values_T: Tensor, places_T: Tensor) -> Tensor:
        """[R, longest] with 0 where a text has ended; `places_T` are those of `padded`."""
        flat = values_T.new_zeros(len(self.rows) * self.longest)
        flat[places_T] = values_T
        return flat.view(len(self.rows), -1)

    def padded(self) -> tuple[Tensor, Tensor]:
        """[T] where each token is in a flat [R * longest], and [R, longest] where attention looks."""
        rows = torch.repeat_interleave(
            torch.arange(len(self.rows), device=self.rows.device), self.lengths, output_size=len(self.words)
        )
        places = rows * self.longest + self.positions
        looks = torch.ones_like(places) if self.attended is None else self.attended.long()
        return places, self.laid_out(looks, places)


@dataclass(frozen=True)
class Packed:
    """All texts of one pass through one tower."""

    groups: list[Group]
    word_ids: Tensor
    """[V] distinct word ids, rising."""
    texts: int
    watched: int
    tokens: int


PackedPair = tuple[Packed, Packed]
"""Of the towers `hr` and `tail`."""


def pack(
    tokens: TokenRows,
    *,
    ids: Ragged | None = None,
    hidden: Ints | None = None,
    watched: Drawn | None = None,
    numbers: Ints | None = None,
    group_rows: int | None = None,
    group_tokens: int | None = None,
    device: torch.device | str = "cpu",
) -> Packed:
    """Sort texts by length into groups.

    Args:
        tokens: U texts.
        ids: Masked ids in place of the texts' own.
        hidden: Flat places that attention and pooling leave out.
        watched: Flat places [M] whose states the losses ask for, and how often each was drawn.
        numbers: [U] of the texts, none of them negative, for dropout; by default their places.
        group_rows: Texts of a group at most.
        group_tokens: Tokens of a group at most, padded to its longest text, though one text is always let in; by
            default as suits the device.
    """
    device = torch.device(device)
    ids = tokens.ids if ids is None else ids
    word_ids, words = np.unique(ids.values, return_inverse=True)
    attended = np.ones(len(ids.values), dtype=bool)
    if hidden is not None:
        attended[hidden] = False
    watch_number = np.full(len(ids.values), -1, dtype=np.int64)
    watched = Drawn.nothing() if watched is None else watched
    count = len(watched.places)
    watch_number[watched.places] = np.arange(count)
    flat = (words.astype(np.int64), tokens.segments.values.astype(np.int64), attended, watch_number)
    numbers = np.arange(len(ids)) if numbers is None else numbers
    order = np.argsort(ids.lengths, kind="stable")
    most = group_tokens or GROUP_TOKENS.get(device.type, GROUP_TOKENS["cpu"])
    groups = [
        _group(rows, numbers, ids, flat, watched.weights, device)
        for rows in _cut(order, ids.lengths, group_rows or len(order), most)
    ]
    return Packed(groups, to_device(word_ids.astype(np.int64), device), len(ids), count, len(ids.values))


def _cut(order: Ints, lengths: Ints, most_rows: int, most_tokens: int) -> Iterator[Ints]:
    """Texts in their order, as many at once as both limits let: some towers pad them all to the longest, the last."""
    rising = lengths[order]
    start = 0
    while start < len(order):
        coming = rising[start : start + min(most_rows, most_tokens)]
        fit = int(np.searchsorted(coming * np.arange(1, len(coming) + 1), most_tokens, side="right"))
        stop = start + max(fit, 1)
        yield order[start:stop]
        start = stop


def _group(rows: Ints, numbers: Ints, ids: Ragged, flat: tuple[Any, ...], weights: Ints, device: torch.device) -> Group:
    lengths = ids.lengths[rows]
    starts = np.cumsum(lengths) - lengths
    positions = np.arange(int(lengths.sum())) - np.repeat(starts, lengths)
    places = np.repeat(ids.offsets[rows], lengths) + positions
    words, segments, attended, watch_number = (column[places] for column in flat)
    watched = np.flatnonzero(watch_number >= 0)
    sizes, texts = np.unique(lengths, return_counts=True)

    on_device = functools.partial(to_device, device=device)
    return Group(
        rows=on_device(rows),
        numbers=tuple(numbers[rows].tolist()),
        lengths=on_device(lengths.astype(np.int64)),
        starts=on_device(starts.astype(np.int64)),
        buckets=tuple(zip(texts.tolist(), sizes.tolist(), strict=True)),
        words=on_device(words),
        segments=on_device(segments),
        positions=on_device(positions.astype(np.int64)),
        attended=None if attended.all() else on_device(attended),
        watched=on_device(watched),
        watched_places=on_device(watch_number[watched]),
        drawn=Watched(
            on_device(np.searchsorted(starts, watched, side="right") - 1), on_device(weights[watch_number[watched]])
        ),
    )


def run_group(
    tower: nn.Module,
    word_table: Tensor,
    group: Group,
    states: States,
    pooling: Pooling,
    seeds: Seeds | None = None,
) -> Side:
    """One group through the tower; `word_table` is [V, D]."""
    words_TD = embedding(group.words, word_table)
    if packed_bert.fits(tower):
        last_TD, found = _run_packed(tower, words_TD, group, states.layers, seeds)
    else:
        last_TD, found = _run_padded(tower, words_TD, group, states.layers)
    last_TD = _at_least_fp32(last_TD)
    pooled_RD = last_TD[group.starts] if pooling == "cls" else _mean(last_TD, group)
    tokens = first = mean = watched = None
    if states.tokens:
        tokens = _at_least_fp32(torch.stack([states_TD[group.watched] for states_TD in found]))
    if states.first:
        first = _at_least_fp32(torch.stack([states_TD[group.starts] for states_TD in found]))
    if states.mean:
        mean = torch.stack([_mean(_at_least_fp32(states_TD), group) for states_TD in found])
    if states.watched:
        texts = len(group.rows)
        watched = torch.stack(
            [group.drawn.means(_at_least_fp32(states_TD[group.watched]), texts) for states_TD in found]
        )
    return Side(normalize(pooled_RD, dim=-1), tokens, first, mean, watched)


def _run_packed(
    tower: nn.Module, words_TD: Tensor, group: Group, layers: Sequence[int], seeds: Seeds | None
) -> tuple[Tensor, list[Tensor]]:
    """Hidden states [T, D] of the last layer and of those asked for, without any padding."""
    return packed_bert.states(
        tower,
        words_TD,
        group.segments,
        group.positions,
        buckets=group.buckets,
        attended_T=group.attended,
        layers=layers,
        key=(seeds or Seeds.unseeded()).texts if tower.training else 0,
        numbers=group.numbers,
    )


def _run_padded(tower: nn.Module, words_TD: Tensor, group: Group, layers: Sequence[int]) -> tuple[Tensor, list[Tensor]]:
    """The same of any Hugging Face encoder: texts are padded to the longest of the group."""
    places_T, looks_RL = group.padded()
    padded = words_TD.new_zeros(looks_RL.numel(), words_TD.shape[-1])
    out: Any = tower(
        inputs_embeds=padded.index_copy(0, places_T, words_TD).view(*looks_RL.shape, -1),
        token_type_ids=group.laid_out(group.segments, places_T),
        attention_mask=_hidden_from(tower, group, looks_RL),
        output_hidden_states=bool(layers),
    )
    asked = [out.last_hidden_state, *(out.hidden_states[layer] for layer in layers)]
    last_TD, *found = [states_RLD.flatten(0, 1).index_select(0, places_T) for states_RLD in asked]
    return last_TD, found


def _hidden_from(tower: nn.Module, group: Group, looks_RL: Tensor) -> Tensor | None:
    """What a tower is told of padding.

    Hugging Face asks a mask of two dimensions whether it hides anything, and waits for the GPU to answer. The host
    knows; and of four dimensions nothing is asked.
    """
    if group.attended is None and len(group.buckets) == 1:
        return None
    config: Any = tower.config
    if packed_bert.is_bert(tower) and config._attn_implementation == "sdpa":
        longest = looks_RL.shape[1]
        return looks_RL.bool()[:, None, None, :].expand(-1, 1, longest, longest)
    return looks_RL


def _mean(states_TD: Tensor, group: Group) -> Tensor:
    """[R, D] mean over the tokens that take part."""
    if group.attended is None:
        return torch.segment_reduce(states_TD, "mean", lengths=group.lengths, unsafe=True)
    weight_T1 = group.attended.to(states_TD.dtype)[:, None]
    summed_RD, count_R1 = (
        torch.segment_reduce(values, "sum", lengths=group.lengths, unsafe=True)
        for values in (states_TD * weight_T1, weight_T1)
    )
    return summed_RD / count_R1.clamp(min=1.0)


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
        table = embedding(word_places(tower, packed.word_ids), word_weights(tower))

    def one(group: Group) -> Side:
        with torch.inference_mode(), autocast():
            return run_group(tower, table, group, states, pooling)

    return _joined(packed, map(one, packed.groups), table.detach(), states)


class TowerPass:
    """A forward pass whose outputs are leaves for the losses, and whose backward pass is called afterwards.

    Args:
        tower: In training mode where dropout is wanted.
        packed: Texts of the pass.
        states: Which hidden states to hand out.
        recompute: Run each group again in `backward` instead of keeping its graph.
        seeds: Of dropout, so that it repeats in the second run; None where nothing is dropped.
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
        seeds: Seeds | None,
        autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ) -> None:
        self._tower, self._packed, self._pooling, self._states = tower, packed, pooling, states
        self._seeds, self._autocast = seeds, autocast
        self._places = word_places(tower, packed.word_ids)
        self._table = embedding(self._places, word_weights(tower)).detach().requires_grad_()
        self._kept = None if recompute else [self._run(number) for number in range(len(packed.groups))]
        with torch.no_grad():
            joined = _joined(packed, self._sides(), self._table.detach(), states)
        self.side = joined.changed(lambda part: part.tensor.requires_grad_())

    def _sides(self) -> Iterator[Side]:
        """Of the groups: kept, or run again."""
        return iter(self._kept) if self._kept is not None else map(self._run, range(len(self._packed.groups)))

    def _run(self, number: int) -> Side:
        if self._seeds is not None:
            torch.manual_seed((self._seeds.groups + number) % 2**63)
        with self._autocast():
            group = self._packed.groups[number]
            return run_group(self._tower, self._table, group, self._states, self._pooling, self._seeds)

    def backward(self, gradients: Side) -> None:
        """Send the gradients of the leaves back into the tower's weights (added to what is there)."""
        for side, group in zip(self._sides(), self._packed.groups, strict=True):
            places = {"text": group.rows, "token": group.watched_places}
            sent = [part.tensor.index_select(part.dim, places[part.per]) for part in gradients.parts()]
            torch.autograd.backward([part.tensor for part in side.parts()], sent)
        self._kept = None
        self._scatter_word_gradient()

    def _scatter_word_gradient(self) -> None:
        weights = word_weights(self._tower)
        if self._table.grad is None or not weights.requires_grad:
            return
        if weights.grad is None:
            weights.grad = torch.zeros_like(weights)
        weights.grad.index_add_(0, self._places, self._table.grad)
        self._table.grad = None


def _joined(packed: Packed, sides: Iterator[Side], word_table: Tensor, states: States) -> Side:
    """Group outputs in the order of the texts, without a graph; each is written to its place as it comes."""
    if not packed.groups:  # A worker's share of a last, small batch may be empty.
        none = word_table.new_zeros(len(states.layers), 0, word_table.shape[-1])
        wanted = (states.tokens, states.first, states.mean, states.watched)
        return Side(none.new_zeros(0, none.shape[-1]), *(none if asked else None for asked in wanted))
    counts = {"text": packed.texts, "token": packed.watched}
    whole: Side | None = None
    for side, group in zip(sides, packed.groups, strict=True):
        if whole is None:
            whole = side.changed(lambda part: _room(part, counts[part.per]))
        places = {"text": group.rows, "token": group.watched_places}
        for room, part in zip(whole.parts(), side.parts(), strict=True):
            room.tensor.index_copy_(part.dim, places[part.per], part.tensor.detach())
    assert whole is not None
    return whole


def _room(part: Part, count: int) -> Tensor:
    """Memory for `count` texts or tokens."""
    shape = list(part.tensor.shape)
    shape[part.dim] = count
    return torch.empty(shape, dtype=part.tensor.dtype, device=part.tensor.device)
