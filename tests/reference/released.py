"""PMD's losses as its released code computes them, one row at a time: method notes, section 1, with 2 and 5.

Nothing here is fast or clever, and nothing is shared with pmd_ray. Where the released code errs, so does this:

- 2.1, C8: the student's ids are the teacher's list, masked in place: both models see the same masked text, in the
  label and score losses too.
- 2.2, C6: masked positions are pooled to one unit vector, and the squared gap is averaged over B x D.
- 2.4, C1: self-negatives as a flag of the whole step (the code's crash on unequal flags is not imitated).
- 2.5, C14: the margin is on the student's diagonal in the score loss too, never on the teacher's.
- 2.7, C9: int(rate * n) draws of torch.randint, with replacement, over 1 .. n - 2; repeats weigh double.
- C7: a row without drawn tokens gets a vector of ones in both models, and stays in the mean.
- C10: heads are masked and enter no feature loss.
- C13: scores are logits under each model's own learnt temperature.
- C15: false negatives are -1e4 in both models: a zero gap that stays in the denominator.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

MASKED_LOGIT = -1e4
Triple = tuple[int, int, int]


@dataclass(frozen=True)
class Row:
    """One occurrence of a text: its clean ids, its segments, and the positions drawn for masking, repeats kept."""

    ids: list[int]
    segments: list[int]
    drawn: list[int]


@dataclass(frozen=True)
class Model:
    """Two towers and log(1/t)."""

    query_tower: nn.Module
    entity_tower: nn.Module
    log_inverse_t: Tensor


def draw_positions(length: int, rate: float, randint: Callable[[int, int], int]) -> list[int]:
    """doc.py:105: int(rate * n) draws from 1 .. n - 2, both ends included, with replacement."""
    return [randint(1, length - 2) for _ in range(int(rate * length))]


def masked_in_place(row: Row, mask_id: int) -> list[int]:
    """doc.py:113-125: id 103 (here: the tokenizer's [MASK]) at every drawn position."""
    ids = list(row.ids)
    for position in row.drawn:
        ids[position] = mask_id
    return ids


def token_states(tower: Any, row: Row, mask_id: int) -> Tensor:
    """[n, D] last hidden states of one text alone, without padding."""
    out = tower(
        input_ids=torch.tensor([masked_in_place(row, mask_id)]),
        token_type_ids=torch.tensor([row.segments]),
        attention_mask=torch.ones(1, len(row.ids), dtype=torch.long),
    )
    states: Tensor = out.last_hidden_state[0]
    return states


def unit(vector: Tensor) -> Tensor:
    """L2-normalised."""
    return vector / vector.square().sum().sqrt()


def mean_of(vectors: Sequence[Tensor]) -> Tensor:
    """Their mean, added up one by one."""
    total = torch.zeros_like(vectors[0])
    for vector in vectors:
        total = total + vector
    return total / len(vectors)


def sequence_vector(states: Tensor) -> Tensor:
    """L2(mean over attended tokens)."""
    return unit(mean_of([states[position] for position in range(len(states))]))


def masked_vector(states: Tensor, drawn: Sequence[int]) -> Tensor:
    """L2(mean over drawn positions, a repeated one as often as drawn); ones where none was drawn."""
    if not drawn:
        return torch.ones_like(states[0])
    return unit(mean_of([states[position] for position in drawn]))


def is_negative(queries: Sequence[Triple], train: set[Triple], row: int, column: int) -> bool:
    """triplet_mask: the answer of another query counts unless it is the same entity or a known answer in train."""
    head, relation, tail = queries[row]
    other = queries[column][2]
    return row != column and other != tail and (head, relation, other) not in train


def head_is_negative(queries: Sequence[Triple], train: set[Triple], row: int) -> bool:
    """self_negative_mask: the own head counts unless it is a known answer in train."""
    head, relation, _ = queries[row]
    return (head, relation, head) not in train


def score_rows(
    hr: Sequence[Tensor],
    tail: Sequence[Tensor],
    head: Sequence[Tensor] | None,
    *,
    log_inverse_t: Tensor,
    margin: float,
    queries: Sequence[Triple],
    train: set[Triple],
) -> list[list[Tensor]]:
    """The logits [B][B], or [B][B + 1] with self-negatives."""
    rows = []
    for i in range(len(hr)):
        row = []
        for j in range(len(tail)):
            cosine = (hr[i] * tail[j]).sum()
            if i == j:
                cosine = cosine - margin
            logit = cosine * torch.exp(log_inverse_t)
            if i != j and not is_negative(queries, train, i, j):
                logit = torch.full_like(logit, MASKED_LOGIT)
            row.append(logit)
        if head is not None:
            logit = (hr[i] * head[i]).sum() * torch.exp(log_inverse_t)
            row.append(logit if head_is_negative(queries, train, i) else torch.full_like(logit, MASKED_LOGIT))
        rows.append(row)
    return rows


def cross_entropy(rows: Sequence[Sequence[Tensor]]) -> Tensor:
    """Mean of -log softmax at the diagonal."""
    losses = [torch.logsumexp(torch.stack(list(row)), 0) - row[place] for place, row in enumerate(rows)]
    return mean_of(losses)


def label_loss(rows: Sequence[Sequence[Tensor]]) -> Tensor:
    """CE(S, diag) + CE(S[:, :B]^T, diag)."""
    count = len(rows)
    columns = [[rows[i][j] for i in range(count)] for j in range(count)]
    return cross_entropy(rows) + cross_entropy(columns)


def score_loss(student: Sequence[Sequence[Tensor]], teacher: Sequence[Sequence[Tensor]]) -> Tensor:
    """nn.MSELoss over all entries, false negatives and the self-negative column included."""
    gaps = [
        (mine - theirs) ** 2
        for my_row, their_row in zip(student, teacher, strict=True)
        for mine, theirs in zip(my_row, their_row, strict=True)
    ]
    return mean_of(gaps)


def feature_loss(student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
    """nn.MSELoss of the masked vectors: the mean over B * D."""
    gaps = [(mine - theirs) ** 2 for mine, theirs in zip(student, teacher, strict=True)]
    return torch.cat(gaps).sum() / (len(gaps) * len(gaps[0]))


def pmd_losses(
    student: Model,
    teacher: Model,
    *,
    hr: Sequence[Row],
    tail: Sequence[Row],
    head: Sequence[Row] | None,
    queries: Sequence[Triple],
    train: set[Triple],
    mask_id: int,
    alpha: float,
    beta: float,
    margin: float,
) -> dict[str, Tensor]:
    """Each part and the total of one step; `head` is None where self-negatives are off.

    Args:
        train: Triples known in training, inverses included.
    """
    scores, features = [], []
    for model, its_margin in ((student, margin), (teacher, 0.0)):
        hr_states = [token_states(model.query_tower, row, mask_id) for row in hr]
        tail_states = [token_states(model.entity_tower, row, mask_id) for row in tail]
        head_states = None if head is None else [token_states(model.entity_tower, row, mask_id) for row in head]
        scores.append(
            score_rows(
                [sequence_vector(states) for states in hr_states],
                [sequence_vector(states) for states in tail_states],
                None if head_states is None else [sequence_vector(states) for states in head_states],
                log_inverse_t=model.log_inverse_t,
                margin=its_margin,
                queries=queries,
                train=train,
            )
        )
        features.append(
            [
                [masked_vector(states, row.drawn) for states, row in zip(hr_states, hr, strict=True)],
                [masked_vector(states, row.drawn) for states, row in zip(tail_states, tail, strict=True)],
            ]
        )
    parts = {
        "label": label_loss(scores[0]),
        "score": score_loss(scores[0], scores[1]),
        "feature": feature_loss(features[0][0], features[1][0]) + feature_loss(features[0][1], features[1][1]),
    }
    total = (1 - alpha - beta) * parts["label"] + alpha * parts["score"] + beta * parts["feature"]
    return {**parts, "total": total}
