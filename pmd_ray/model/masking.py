"""Draws the masked tokens of a batch as array operations, from counters instead of a generator's state.

A row's draw depends on its key and the positions in it alone: not on the other rows, their order or the worker. The
released code loops over rows, draws with replacement and floors, so that short texts are never masked (method notes,
2.7, C7, C9); `sampling` and `count` keep that as an option.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pmd_ray.spec import plugins
from pmd_ray.spec.mask import MaskConfig
from pmd_ray.spec.ragged import Ints, Part, Ragged, TokenRows, offsets_of, spans
from pmd_ray.spec.streams import UInts, row_keys, uniforms

COUNT_STREAM = 1 << 40
"""Counters from here on are for a row's number of masked tokens; below, for its positions."""
REPLACE_STREAM = 1 << 41


@dataclass(frozen=True)
class Drawn:
    """Masked tokens of N rows: flat positions in the rows' `values`, rising, and how often each was drawn."""

    places: Ints
    weights: Ints

    @classmethod
    def nothing(cls) -> Drawn:
        """No token of any row."""
        return cls(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))


def maskable(tokens: TokenRows, positions: str) -> NDArray[np.bool_]:
    """[T] which tokens of the flat rows may be masked."""
    parts = tokens.parts.values
    match positions:
        case "no_special":
            return np.asarray(parts != Part.SPECIAL)
        case "description":
            return np.asarray(parts == Part.DESCRIPTION)
        case "neighbours":
            return np.asarray(parts == Part.NEIGHBOUR)
        case _:
            # The released code knows no parts: positions 1 to n - 2, the middle [SEP] of a query among them.
            inside = np.ones(len(parts), dtype=bool)
            inside[tokens.ids.offsets[:-1]] = False
            inside[tokens.ids.offsets[1:] - 1] = False
            return inside


def draw(tokens: TokenRows, keys: UInts, config: MaskConfig, *, rate: float | None = None, at_least: int = 0) -> Drawn:
    """Draw the masked tokens of each row.

    Args:
        tokens: N rows.
        keys: [N] one key for each row; equal keys and equal rows give equal draws.
        config: Which positions, how many, how drawn.
        rate: In place of config.rate.
        at_least: In place of config.min_tokens where larger.
    """
    rate = config.rate if rate is None else rate
    if rate == 0.0 or not len(tokens):
        return Drawn.nothing()
    candidates = np.flatnonzero(maskable(tokens, config.positions))
    row_of = np.repeat(np.arange(len(tokens)), tokens.ids.lengths)[candidates]
    available = np.bincount(row_of, minlength=len(tokens))
    wanted = _how_many(tokens, keys, available, config, rate=rate, at_least=max(config.min_tokens, at_least))
    log_weights = plugins.load("mask policy", config.policy).log_weights(tokens)
    weights = None if log_weights is None else log_weights[candidates]
    if config.sampling == "without_replacement":
        return _without_replacement(tokens, keys, candidates, row_of, wanted=wanted, log_weights=weights)
    return _with_replacement(keys, candidates, available, wanted=wanted, log_weights=weights)


def _how_many(
    tokens: TokenRows, keys: UInts, available: Ints, config: MaskConfig, *, rate: float, at_least: int
) -> Ints:
    """[N] tokens to draw in each row."""
    if config.count == "floor":
        wanted = np.floor(rate * tokens.ids.lengths)
    else:
        wanted = np.floor(rate * available + uniforms(keys, np.asarray(COUNT_STREAM)))
    wanted = np.maximum(wanted.astype(np.int64), at_least)
    if config.sampling == "without_replacement":
        wanted = np.minimum(wanted, available)
    none: Ints = np.where(available == 0, 0, wanted)
    return none


def _without_replacement(
    tokens: TokenRows,
    keys: UInts,
    candidates: Ints,
    row_of: Ints,
    *,
    wanted: Ints,
    log_weights: NDArray[np.float64] | None,
) -> Drawn:
    """Gumbel top-k of the log weights (Kool et al. 2019); without weights, top-k of uniform numbers is the same."""
    within = candidates - tokens.ids.offsets[row_of]
    score = uniforms(keys[row_of], within)
    if log_weights is not None:
        score = log_weights - np.log(-np.log(np.clip(score, 1e-300, 1 - 1e-16)))
    order = np.lexsort((-score, row_of))
    starts = np.searchsorted(row_of, np.arange(len(tokens)))
    chosen = order[spans(starts, wanted)]
    places = np.sort(candidates[chosen])
    return Drawn(places, np.ones(len(places), dtype=np.int64))


def _with_replacement(
    keys: UInts, candidates: Ints, available: Ints, *, wanted: Ints, log_weights: NDArray[np.float64] | None
) -> Drawn:
    """Each draw is independent: the same token may be drawn again (torch.randint in the released code)."""
    if log_weights is not None:
        raise ValueError("a weighted mask policy needs mask.sampling: without_replacement")
    starts = offsets_of(available)[:-1]
    row = np.repeat(np.arange(len(wanted)), wanted)
    number = spans(np.zeros(len(wanted), dtype=np.int64), wanted)
    within = (uniforms(keys[row], number) * available[row]).astype(np.int64)
    places, weights = np.unique(candidates[starts[row] + within], return_counts=True)
    return Drawn(places.astype(np.int64), weights.astype(np.int64))


def masked_ids(tokens: TokenRows, drawn: Drawn, keys: UInts, *, replace: str, mask_id: int, vocabulary: int) -> Ragged:
    """The rows' ids with drawn tokens replaced. Under `attention` nothing is replaced: the tokens are hidden."""
    if replace == "attention" or not len(drawn.places):
        return tokens.ids
    values = tokens.ids.values.copy()
    values[drawn.places] = mask_id
    if replace == "80_10_10":
        row = np.searchsorted(tokens.ids.offsets, drawn.places, side="right") - 1
        within = drawn.places - tokens.ids.offsets[row]
        luck = uniforms(keys[row], within + REPLACE_STREAM)
        other = (uniforms(row_keys(1, keys[row]), within + REPLACE_STREAM) * vocabulary).astype(values.dtype)
        values[drawn.places] = np.where(
            luck < 0.8, mask_id, np.where(luck < 0.9, other, tokens.ids.values[drawn.places])
        )
    return Ragged(values, tokens.ids.offsets)
