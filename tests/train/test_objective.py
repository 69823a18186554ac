"""The objective equals the released code's losses, taken literally, and combines its parts as asked."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from reference import small
from reference.released import Model, Row, Triple, pmd_losses
from torch import Tensor

from pmd_ray.kg.known import with_inverses
from pmd_ray.model.bi_encoder import BiEncoder
from pmd_ray.model.losses import Scores, Setting, States
from pmd_ray.model.outputs import Facts, Outputs, Role, Side
from pmd_ray.spec.grade import GradeConfig
from pmd_ray.train.batches import Batch
from pmd_ray.train.objective import Objective, Views, scores_of

TIGHT: dict[str, Any] = {"rtol": 1e-10, "atol": 1e-10}


def setting_of(student: BiEncoder, teacher: BiEncoder, grade: GradeConfig) -> Setting:
    return Setting(student.layers, teacher.layers, student.width, teacher.width, grade.mask.loss_sequences)


def rows_of(batch: Batch, role: Role) -> list[Row]:
    """Each occurrence's text with its own list of drawn positions."""
    texts = batch.hr if role == "hr" else batch.tail
    offsets = texts.tokens.ids.offsets
    drawn: dict[int, list[int]] = {row: [] for row in range(len(texts.tokens))}
    for place, weight in zip(texts.drawn.places, texts.drawn.weights, strict=True):
        row = int(np.searchsorted(offsets, place, side="right")) - 1
        drawn[row] += [int(place - offsets[row])] * int(weight)
    return [
        Row(texts.tokens.ids[row].tolist(), texts.tokens.segments[row].tolist(), drawn[row])
        for row in batch.rows[role].tolist()
    ]


def literal_losses(
    student: BiEncoder, teacher: BiEncoder, batch: Batch, grade: GradeConfig, known: np.ndarray
) -> dict[str, Tensor]:
    queries: list[Triple] = [tuple(row) for row in batch.queries.tolist()]
    return pmd_losses(
        Model(student.hr, student.tail, student.log_inverse_t),
        Model(teacher.hr, teacher.tail, teacher.log_inverse_t),
        hr=rows_of(batch, "hr"),
        tail=rows_of(batch, "tail"),
        head=rows_of(batch, "head") if "head" in batch.rows else None,
        queries=queries,
        train={tuple(row) for row in known.tolist()},
        mask_id=small.small_source().wordpieces.mask,
        alpha=grade.loss.alpha,
        beta=grade.loss.beta,
        margin=grade.loss.ce.margin,
    )


def gradients(model: BiEncoder) -> dict[str, Tensor]:
    found = {
        name: torch.zeros_like(weight) if weight.grad is None else weight.grad.clone()
        for name, weight in model.named_parameters()
    }
    model.zero_grad(set_to_none=True)
    return found


# Every pair of two of the three settings.
@pytest.mark.parametrize(
    ("per", "rate", "self_negatives"),
    [
        ("occurrence", 0.0, False),
        ("occurrence", 0.05, True),
        ("occurrence", 0.5, False),
        ("text", 0.0, True),
        ("text", 0.05, False),
        ("text", 0.5, True),
    ],
)
def test_pmd_code_is_the_released_code(per: str, rate: float, self_negatives: bool) -> None:
    """Method notes 1, 2.1 to 2.5, 2.7, C6 to C10, C13 to C15; under `text`, queries share rows (2.10, section 7)."""
    graph = small.dense_graph()
    grade = small.student_grade("pmd_code", mask__rate=rate, mask__per=per, loss__ce__self_negatives=self_negatives)
    teacher, student = (small.model_of(small.student_grade(layers=n), seed=n) for n in (4, 2))
    assert not torch.equal(teacher.log_inverse_t, student.log_inverse_t)
    teacher.requires_grad_(False)
    batches = small.batches_of(grade, graph, text={"neighbours": False})
    batch, facts = (made := batches.make(0, 0)), small.facts_of(batches, made)
    _check_premises(batch, facts, per=per, rate=rate)

    objective = Objective(grade, setting_of(student, teacher, grade)).double()
    passes = small.student_passes(student, batch, objective.student_states, recompute=self_negatives)
    outputs = Outputs(passes["hr"].side, passes["tail"].side)
    taught = small.teacher_outputs(teacher, batch, objective.teacher_states)
    parts = objective.parts(student, Views(outputs, outputs, outputs), teacher, Views(taught, taught, taught), facts)
    total = objective.total(parts)
    total.backward()  # type: ignore[no-untyped-call]
    for tower in passes.values():
        tower.backward(small.gradients_of(tower.side))
    ours = gradients(student)

    literal = literal_losses(student, teacher, batch, grade, with_inverses(graph.train, graph.num_relations))
    literal["total"].backward()  # type: ignore[no-untyped-call]
    theirs = gradients(student)
    for name, value in {**parts, "total": total}.items():
        torch.testing.assert_close(value, literal[name], **TIGHT, msg=name)
    if rate == 0.0:  # 2.3, C3: without masks the feature loss is nothing; beta only takes from the label loss
        assert parts["feature"].item() == 0.0
        assert objective.weights["label"] == pytest.approx(0.8)
    for name, gradient in theirs.items():
        torch.testing.assert_close(ours[name], gradient, **TIGHT, msg=name)


def _check_premises(batch: Batch, facts: Facts, *, per: str, rate: float) -> None:
    """The comparison is worth something only where there is something to get wrong."""
    count = len(batch.queries)
    negatives = int(facts.negative_BB.sum())
    assert count < negatives < count * (count - 1) * 0.9, "many false negatives"
    assert not facts.head_negative_B.all(), "a head that answers its own query"
    drawn = [len(row.drawn) for role in ("hr", "tail") for row in rows_of(batch, role)]
    if rate == 0.05:
        assert min(drawn) == 0 < max(drawn), "rows with and without masked tokens"
    if rate == 0.5:
        assert int(batch.hr.drawn.weights.max()) > 1, "tokens drawn twice"
    if per == "text":
        assert len(batch.tail.tokens) < count, "queries that share a text"
    elif rate:
        assert len(batch.hr.tokens) == count


def small_batch(seed: int = 0) -> tuple[Outputs, Outputs, Facts]:
    """Random unit vectors for 6 queries, with heads."""
    luck = torch.Generator().manual_seed(seed)

    def outputs() -> Outputs:
        def side() -> Side:
            vectors = torch.nn.functional.normalize(torch.randn(7, 8, generator=luck, dtype=torch.float64), dim=-1)
            return Side(vectors.requires_grad_())

        return Outputs(side(), side())

    facts = Facts(
        rows={
            "hr": torch.tensor([0, 1, 2, 3, 4, 5]),
            "tail": torch.tensor([1, 1, 0, 3, 2, 6]),
            "head": torch.tensor([5, 4, 3, 2, 1, 0]),
        },
        negative_BB=(torch.rand(6, 6, generator=luck) < 0.6) & ~torch.eye(6, dtype=torch.bool),
        head_negative_B=torch.tensor([True, False, True, True, True, False]),
        watched={},
    )
    return outputs(), outputs(), facts


def parts_of(values: dict[str, float]) -> dict[str, Tensor]:
    return {name: torch.tensor(value, dtype=torch.float64, requires_grad=True) for name, value in values.items()}


def an_objective(teacher: bool = True, **loss: Any) -> Objective:
    settings: dict[str, Any] = {f"loss__{key}": value for key, value in loss.items()}
    grade = small.student_grade("pmd_scaled", **settings)
    return Objective(grade, Setting(2, 4, 8, 8, ("hr", "tail")) if teacher else None).double()


@pytest.mark.parametrize(
    ("combination", "expected"),
    [("convex", 0.5 * 3.0 + 0.2 * 5.0 + 0.3 * 7.0), ("additive", 3.0 + 0.2 * 5.0 + 0.3 * 7.0)],
)
def test_parts_are_weighted(combination: str, expected: float) -> None:
    objective = an_objective(combination=combination, alpha=0.2, beta=0.3)
    parts = parts_of({"label": 3.0, "score": 5.0, "feature": 7.0})
    assert objective.total(parts).item() == pytest.approx(expected, rel=1e-14)


def test_adaptive_weights_are_kendalls() -> None:
    """L = CE / s1^2 + gap / (2 s2^2) + gap / (2 s3^2) + log s1 + log s2 + log s3, with log s^2 learnt."""
    objective = an_objective(combination="adaptive")
    log_variance = torch.tensor([0.3, -0.4, 1.1], dtype=torch.float64)
    assert objective.log_variance is not None
    objective.log_variance.data.copy_(log_variance)
    parts = parts_of({"label": 3.0, "score": 5.0, "feature": 7.0})
    variance = log_variance.exp()
    expected = 3.0 / variance[0] + 5.0 / (2 * variance[1]) + 7.0 / (2 * variance[2]) + variance.sqrt().log().sum()
    total = objective.total(parts)
    torch.testing.assert_close(total, expected, rtol=1e-12, atol=0)
    total.backward()  # type: ignore[no-untyped-call]
    wanted = torch.tensor([-3.0, -2.5, -3.5], dtype=torch.float64) / variance + 0.5
    torch.testing.assert_close(objective.log_variance.grad, wanted, rtol=1e-12, atol=0)


def test_adaptive_with_one_part_switched_off() -> None:
    objective = an_objective(combination="adaptive", alpha=0.0)
    assert objective.log_variance is not None and objective.log_variance.shape == (2,)
    assert objective.total(parts_of({"label": 3.0, "feature": 7.0})).item() == pytest.approx(3.0 + 3.5)


@pytest.mark.parametrize("combination", ["convex", "additive", "adaptive"])
def test_without_a_teacher_the_label_loss_stands_alone(combination: str) -> None:
    objective = an_objective(teacher=False, combination=combination)
    outputs, _, facts = small_batch()
    model = small.model_of(small.student_grade())
    parts = objective.parts(model, Views(outputs, outputs, outputs), None, None, facts)
    assert list(parts) == ["label"] and not list(objective.parameters())
    torch.testing.assert_close(objective.total(parts), parts["label"], rtol=0, atol=0)
    assert objective.weights == {"label": 1.0}


def test_a_weight_of_zero_switches_a_part_off() -> None:
    """Nothing is computed for it: no states are asked for, and the label loss keeps its share."""
    objective = an_objective(alpha=0.2, beta=0.0)
    assert objective.student_states == objective.teacher_states == States()
    assert objective.weights == {"label": 0.8, "score": 0.2}
    assert an_objective(alpha=0.0, beta=0.3).weights == {"label": 0.7, "feature": 0.3}


def test_self_negative_columns_come_from_the_batch_not_from_the_model() -> None:
    """C1, C16: teacher and student cannot disagree on their columns, whoever trained the teacher."""
    mine, theirs, facts = small_batch()
    scores = [
        scores_of(outputs, facts, inverse_t=torch.tensor(20.0), margin=0.02, earlier_weight=0.5)
        for outputs in (mine, theirs)
    ]
    assert all(each.head_cosine_R is not None and len(each.head_cosine_R) == 6 for each in scores)
    facts = Facts({k: v for k, v in facts.rows.items() if k != "head"}, facts.negative_BB, facts.head_negative_B, {})
    assert scores_of(mine, facts, inverse_t=torch.tensor(20.0), margin=0.02, earlier_weight=0.5).head_cosine_R is None


def test_scores_read_each_querys_own_rows() -> None:
    outputs, _, facts = small_batch()
    earlier = torch.nn.functional.normalize(torch.randn(4, 8, dtype=torch.float64), dim=-1)
    known = torch.rand(6, 4) < 0.5
    facts = Facts(facts.rows, facts.negative_BB, facts.head_negative_B, {}, earlier, known)
    inverse_t = torch.tensor(7.0, dtype=torch.float64)
    scores = scores_of(outputs, facts, inverse_t=inverse_t, margin=0.02, earlier_weight=0.5)
    assert scores.head_cosine_R is not None and isinstance(scores.earlier_cosine_RN, Tensor)
    for i in range(6):
        query = outputs.hr.pooled_UD[facts.rows["hr"][i]]
        for j in range(6):
            tail = outputs.tail.pooled_UD[facts.rows["tail"][j]]
            assert scores.cosines[i, j].item() == pytest.approx((query @ tail).item(), abs=1e-14)
        head = outputs.tail.pooled_UD[facts.rows["head"][i]]
        assert scores.head_cosine_R[i].item() == pytest.approx((query @ head).item(), abs=1e-14)
        for n in range(4):
            wanted = (query @ earlier[n]).item()
            assert scores.earlier_cosine_RN[i, n].item() == pytest.approx(wanted, abs=1e-13)


def test_score_losses_have_no_earlier_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """C16: earlier tails are the student's; they enter its label loss and no score loss, whatever the widths."""
    mine, theirs, facts = small_batch()
    earlier = torch.randn(4, 8, dtype=torch.float64)
    facts = Facts(facts.rows, facts.negative_BB, facts.head_negative_B, {}, earlier, torch.ones(6, 4) > 0)
    objective = an_objective(beta=0.0)
    seen: list[Scores] = []
    monkeypatch.setattr(objective, "score", lambda *scores: seen.extend(scores) or torch.zeros(()))
    model = SimpleNamespace(inverse_t=torch.tensor(7.0, dtype=torch.float64))
    parts = [
        objective.parts(model, Views(mine, mine, mine), model, Views(theirs, theirs, theirs), given)["label"].item()  # type: ignore[arg-type]
        for given in (facts, replace(facts, earlier_ND=None, earlier_negative_BN=None))
    ]
    assert len(seen) == 4 and all(each.earlier_cosine_RN is None for each in seen)
    assert parts[0] > parts[1], "more negatives"
