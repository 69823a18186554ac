"""BERT over texts laid end to end: no position is padding, but for up to 31 rows behind a whole group of texts.

Linear layers see one matrix of all tokens; attention runs over texts of equal length at once. The weights are those
of the Hugging Face module, and so are the results (tests/model/test_packed_bert.py). Dropout is drawn as in
`model/dropout.py`.

Shapes: T tokens, P >= T rows as a product wants them (those behind the tokens are read by nobody, and get no gradient),
R texts of one length, n tokens of each, H heads, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, scaled_dot_product_attention

from pmd_ray.model.dropout import Drawn, nothing_dropped
from pmd_ray.model.products import linear, whole_rows


class Draw(Protocol):
    """`dropout.Drawn`, or what drops nothing."""

    def __call__(self, texts: range, sizes: Sequence[int], chance: float, *, more: int = 0) -> Tensor | None:
        """Factors end to end."""
        ...


def is_bert(tower: nn.Module) -> bool:
    """Whether a tower is the plain encoder of BERT."""
    from transformers import BertModel

    config: Any = getattr(tower, "config", None)
    return (
        type(tower) is BertModel
        and not config.is_decoder
        and not config.add_cross_attention
        and getattr(config, "position_embedding_type", "absolute") in ("absolute", None)
    )


def fits(tower: nn.Module) -> bool:
    """Whether a tower is the plain encoder of BERT, on a CPU.

    A GPU has kernels of its own for padded batches, and pays for each small one.
    """
    return next(tower.parameters()).device.type == "cpu" and is_bert(tower)


def states(
    tower: Any,
    words_TD: Tensor,
    segments_T: Tensor,
    positions_T: Tensor,
    *,
    buckets: Sequence[tuple[int, int]],
    attended_T: Tensor | None,
    layers: Sequence[int],
    key: int,
    numbers: Sequence[int],
) -> tuple[Tensor, list[Tensor]]:
    """Hidden states [T, D] of the last layer, and of those that are asked for.

    Args:
        tower: A BertModel.
        words_TD: Word vectors.
        segments_T: Token types.
        positions_T: Place of each token in its text.
        buckets: (R, n) of the texts one after another, texts of one length together.
        attended_T: False where attention leaves a token out (never all of a text); None leaves out none.
        layers: Whose states are asked for; 0 is the embeddings.
        key: Of this pass's dropout.
        numbers: Of the texts: equal ones have equal draws in every group and on every worker.
    """
    table = tower.embeddings
    x_TD = words_TD + table.token_type_embeddings(segments_T) + table.position_embeddings(positions_T)
    x_TD = table.LayerNorm(x_TD)
    draw: Draw = Drawn(key, numbers, x_TD.dtype) if tower.training else nothing_dropped
    lengths = [tokens for texts, tokens in buckets for _ in range(texts)]
    x_TD = _dropped(x_TD, lengths, table.dropout.p, draw)
    found, tokens, depth = {0: x_TD}, len(x_TD), len(tower.encoder.layer)
    more = whole_rows(x_TD) - tokens
    x_PD = pad(x_TD, (0, 0, 0, more)) if more else x_TD
    for number, layer in enumerate(tower.encoder.layer, start=1):
        attention_PD = _attention(layer.attention.self, x_PD, buckets, attended_T, draw)
        x_PD = _added(layer.attention.output, attention_PD, x_PD, lengths, draw)
        inner = layer.intermediate
        x_PD = _added(layer.output, inner.intermediate_act_fn(linear(inner.dense, x_PD)), x_PD, lengths, draw)
        if number in layers or number == depth:
            found[number] = x_PD[:tokens]
    return found[depth], [found[number] for number in layers]


def _attention(
    attention: Any, x_PD: Tensor, buckets: Sequence[tuple[int, int]], attended_T: Tensor | None, draw: Draw
) -> Tensor:
    """[P, D] of all heads side by side."""
    sizes = [texts * tokens for texts, tokens in buckets]
    more = len(x_PD) - sum(sizes)
    parts = (linear(layer, x_PD) for layer in (attention.query, attention.key, attention.value))
    # `split` and not slices: a slice's gradient is as large as what it was cut from.
    whole = zip(*(torch.split(part, [*sizes, more])[: len(sizes)] for part in parts), strict=True)
    seen = [None] * len(sizes) if attended_T is None else torch.split(attended_T, sizes)
    found, first = [], 0
    for (texts, tokens), cut, attended in zip(buckets, whole, seen, strict=True):
        shape = (texts, tokens, attention.num_attention_heads, attention.attention_head_size)
        query, key, value = (part.view(shape).transpose(1, 2) for part in cut)
        mask = None if attended is None else attended.view(texts, 1, 1, tokens)
        factors = draw(
            range(first, first + texts), [attention.num_attention_heads * tokens**2] * texts, attention.dropout.p
        )
        first += texts
        found.append(_heads(query, key, value, mask, factors).transpose(1, 2).reshape(texts * tokens, -1))
    if more:
        found.append(x_PD.new_zeros(more, found[0].shape[1]))
    return torch.cat(found) if len(found) > 1 else found[0]


def _heads(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, factors: Tensor | None) -> Tensor:
    """[R, H, n, D / H]; `factors` are dropout's, of R H n n weights."""
    scale = query.shape[-1] ** -0.5
    if factors is None:
        return scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scale)
    scores = (query * scale) @ key.transpose(-1, -2)
    if mask is not None:
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    out: Tensor = (scores.softmax(-1) * factors.view(scores.shape)) @ value
    return out


def _added(output: Any, x_PF: Tensor, before_PD: Tensor, lengths: Sequence[int], draw: Draw) -> Tensor:
    """The end of either half of a layer: a linear layer, dropout, what was before, a LayerNorm."""
    x_PD = linear(output.dense, x_PF)
    factors = _factors(x_PD, lengths, output.dropout.p, draw)
    summed = x_PD + before_PD if factors is None else torch.addcmul(before_PD, x_PD, factors)
    normalised: Tensor = output.LayerNorm(summed)
    return normalised


def _dropped(x_PD: Tensor, lengths: Sequence[int], chance: float, draw: Draw) -> Tensor:
    factors = _factors(x_PD, lengths, chance, draw)
    return x_PD if factors is None else x_PD * factors


def _factors(x_PD: Tensor, lengths: Sequence[int], chance: float, draw: Draw) -> Tensor | None:
    width, more = x_PD.shape[1], len(x_PD) - sum(lengths)
    factors = draw(range(len(lengths)), [length * width for length in lengths], chance, more=more * width)
    return None if factors is None else factors.view(x_PD.shape)
