"""Logit distillation and patient distillation against loops over single numbers, and in a tiny training."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import tiny_chain
from torch import Tensor

from pmd_ray.model.losses import Scores, Setting, States, lkd, pkd, scores
from pmd_ray.model.outputs import Facts, Outputs, Role, Side, Watched
from pmd_ray.spec.draft import build_chain
from pmd_ray.spec.keys import stage_key
from pmd_ray.train.events import silent
from pmd_ray.train.stage import _Training

B = 5
TIGHT: dict[str, Any] = {"rel": 1e-10, "abs": 1e-10}


def some_scores(seed: int, *, head: bool = True, inverse_t: float = 20.0, dtype: torch.dtype = torch.float64) -> Scores:
    """Cosines of 5 queries; seeds share which pairs are negatives, as two models of one batch do."""
    luck, masks = torch.Generator().manual_seed(seed), torch.Generator().manual_seed(99)

    def cosines(*shape: int) -> Tensor:
        return (2 * torch.rand(*shape, generator=luck, dtype=torch.float64) - 1).to(dtype).requires_grad_()

    return Scores(
        cosine_RB=cosines(B, B),
        inverse_t=torch.tensor(inverse_t, dtype=dtype, requires_grad=True),
        margin=0.02,
        negative_RB=(torch.rand(B, B, generator=masks) < 0.6) & ~torch.eye(B, dtype=torch.bool),
        head_cosine_R=cosines(B) if head else None,
        head_negative_R=torch.tensor([True, False, True, True, False]) if head else None,
    )


def changed(given: Scores, **fields: Any) -> Scores:
    kept = {name: getattr(given, name) for name in Scores.__dataclass_fields__}
    return Scores(**{**kept, **fields})


# --- logit distillation ---------------------------------------------------------------------------------------------


def candidates(
    mine: Scores, theirs: Scores, options: lkd.Options, *, row: int, column: int | None = None
) -> list[tuple[float, float]]:
    """Logits of student and teacher for each candidate of a query, or of an answer where `column` is given."""
    own = options.space == "logits"
    scales = (mine.inverse_t.item(), (theirs if own else mine).inverse_t.item())
    margins = (0.02 if options.margin != "none" else 0.0, 0.02 if options.margin == "both" else 0.0)
    found = []
    pairs = [(row, j) for j in range(B)] if column is None else [(i, column) for i in range(B)]
    for i, j in pairs:
        if i == j or options.false_negatives == "keep" or mine.negative_RB[i, j]:
            off = margins if i == j else (0.0, 0.0)
            student, teacher = mine.cosines[i, j].item() - off[0], theirs.cosines[i, j].item() - off[1]
            found.append((student * scales[0], teacher * scales[1]))
    if column is None and mine.head_cosine_R is not None and options.self_negative_column == "follow_ce":
        assert mine.head_negative_R is not None and theirs.head_cosine_R is not None
        if options.false_negatives == "keep" or mine.head_negative_R[row]:
            found.append((mine.head_cosine_R[row].item() * scales[0], theirs.head_cosine_R[row].item() * scales[1]))
    return found


def divergence(logits: list[tuple[float, float]], temperature: float) -> float:
    """sum p_teacher (log p_teacher - log p_student), each probability worked out by itself."""
    total = 0.0
    tops = [max(pair[side] for pair in logits) / temperature for side in (0, 1)]
    sums = [math.fsum(math.exp(pair[side] / temperature - tops[side]) for pair in logits) for side in (0, 1)]
    for pair in logits:
        log_s, log_t = (pair[side] / temperature - tops[side] - math.log(sums[side]) for side in (0, 1))
        total += math.exp(log_t) * (log_t - log_s)
    return total


def plain_lkd(mine: Scores, theirs: Scores, options: lkd.Options) -> float:
    rows = [candidates(mine, theirs, options, row=i) for i in range(B)]
    loss = sum(divergence(row, options.temperature) for row in rows) / B
    if options.directions == "both":
        columns = [candidates(mine, theirs, options, row=j, column=j) for j in range(B)]
        loss = (loss + sum(divergence(column, options.temperature) for column in columns) / B) / 2
    return loss * options.temperature**2


@pytest.mark.parametrize("temperature", [0.05, 1.0, 5.0])
@pytest.mark.parametrize("space", ["logits", "cosine"])
@pytest.mark.parametrize("directions", ["once", "both"])
def test_lkd_against_loops(temperature: float, space: str, directions: str) -> None:
    for margin, false_negatives, column, head in itertools.product(
        ["none", "student", "both"], ["exclude", "keep"], ["follow_ce", "exclude"], [False, True]
    ):
        options = lkd.Options.model_validate(
            {
                "temperature": temperature,
                "space": space,
                "directions": directions,
                "margin": margin,
                "false_negatives": false_negatives,
                "self_negative_column": column,
            }
        )
        mine, theirs = some_scores(1, head=head), some_scores(2, head=head, inverse_t=31.0)
        found = lkd.lkd_loss(mine, theirs, options).item()
        assert found == pytest.approx(plain_lkd(mine, theirs, options), **TIGHT), (options, head)


@pytest.mark.parametrize("directions", ["once", "both"])
@pytest.mark.parametrize("head", [False, True])
def test_lkd_is_the_score_losss_softmax_kl(directions: Any, head: bool) -> None:
    mine, theirs = some_scores(1, head=head), some_scores(2, head=head, inverse_t=9.0)
    other = scores.Options(space="softmax_kl", temperature=3.0, directions=directions)
    found = lkd.lkd_loss(mine, theirs, lkd.Options(temperature=3.0, directions=directions))
    assert found.item() == pytest.approx(scores.score_loss(mine, theirs, other).item(), **TIGHT)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000), st.floats(0.01, 50.0), st.sampled_from(["logits", "cosine"]), st.booleans())
def test_lkd_is_zero_at_equality_alone(seed: int, temperature: float, space: Any, both: bool) -> None:
    options = lkd.Options(temperature=temperature, space=space, directions="both" if both else "once")
    mine = some_scores(seed)
    same = lkd.lkd_loss(mine, mine, options)
    assert same.item() == pytest.approx(0.0, abs=1e-9)
    same.backward()  # type: ignore[no-untyped-call]
    assert mine.cosines.grad is not None and mine.cosines.grad.abs().max() < 1e-9 * max(1.0, temperature) * 20
    assert lkd.lkd_loss(mine, some_scores(seed + 1), options).item() > 0.0


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.permutations(range(B)))
def test_lkd_does_not_care_for_the_batchs_order(seed: int, order: list[int]) -> None:
    def permuted(given: Scores) -> Scores:
        assert given.head_cosine_R is not None and given.head_negative_R is not None
        return changed(
            given,
            cosine_RB=given.cosines[order][:, order],
            negative_RB=given.negative_RB[order][:, order],
            head_cosine_R=given.head_cosine_R[order],
            head_negative_R=given.head_negative_R[order],
        )

    mine, theirs, options = some_scores(seed), some_scores(seed + 1), lkd.Options(directions="both")
    found = lkd.lkd_loss(permuted(mine), permuted(theirs), options).item()
    assert found == pytest.approx(lkd.lkd_loss(mine, theirs, options).item(), **TIGHT)


def test_lkd_sees_differences_within_a_row_only() -> None:
    """A softmax does not see what is added to all candidates of a row, in either model."""
    mine, theirs = some_scores(1, head=False), some_scores(2, head=False)
    moved = changed(theirs, cosine_RB=theirs.cosines + torch.tensor([[0.3], [-0.2], [0.0], [1.0], [0.1]]))
    losses = [lkd.lkd_loss(mine, teacher, lkd.Options()).item() for teacher in (theirs, moved)]
    assert losses[1] == pytest.approx(losses[0], **TIGHT)
    both = [lkd.lkd_loss(mine, teacher, lkd.Options(directions="both")).item() for teacher in (theirs, moved)]
    assert both[1] != pytest.approx(both[0], rel=1e-3)


def test_cosines_leave_the_teachers_temperature_out_and_do_not_train_the_students() -> None:
    mine = some_scores(1)
    options = lkd.Options(space="cosine")
    losses = [lkd.lkd_loss(mine, some_scores(2, inverse_t=t), options) for t in (5.0, 50.0)]
    assert losses[0].item() == losses[1].item()
    losses[0].backward()  # type: ignore[no-untyped-call]
    assert mine.inverse_t.grad is None and mine.cosines.grad is not None
    lkd.lkd_loss(mine, some_scores(2), lkd.Options()).backward()  # type: ignore[no-untyped-call]
    assert mine.inverse_t.grad is not None and mine.inverse_t.grad != 0


def test_at_high_temperature_it_is_half_the_squared_gap_of_centred_logits() -> None:
    """Hinton et al. 2015, Eq. 4: the factor T^2 keeps the loss's size."""
    every = ~torch.eye(B, dtype=torch.bool)
    mine, theirs = (changed(some_scores(seed, head=False), negative_RB=every) for seed in (1, 2))
    gaps_BB = 20.0 * (mine.cosines - theirs.cosines)
    expected = (gaps_BB - gaps_BB.mean(1, keepdim=True)).square().mean() / 2
    found = lkd.lkd_loss(mine, theirs, lkd.Options(temperature=1e4))
    assert found.item() == pytest.approx(expected.item(), rel=1e-2)


@pytest.mark.parametrize("temperature", [1e-3, 1.0])
@pytest.mark.parametrize("inverse_t", [1e-2, 20.0, 1e4])
def test_lkd_is_finite_at_any_scale(temperature: float, inverse_t: float) -> None:
    """In fp32, with whole rows of known answers, and whatever stands where nothing is compared."""
    mine, theirs = (some_scores(seed, inverse_t=inverse_t, dtype=torch.float32) for seed in (1, 2))
    alone = mine.negative_RB.clone()
    alone[2] = False
    odd = torch.where(alone | torch.eye(B, dtype=torch.bool), theirs.cosines.detach(), 1e6)
    mine, theirs = changed(mine, negative_RB=alone), changed(theirs, negative_RB=alone, cosine_RB=odd)
    ways: tuple[Any, ...] = ("once", "both")
    for directions in ways:
        loss = lkd.lkd_loss(mine, theirs, lkd.Options(temperature=temperature, directions=directions))
        assert math.isfinite(loss.item()) and loss.item() >= 0.0
        loss.backward()  # type: ignore[no-untyped-call]
        assert mine.cosines.grad is not None and mine.cosines.grad.isfinite().all()
        assert not mine.cosines.grad[~(alone | torch.eye(B, dtype=torch.bool))].any()


def test_lkds_gradients_are_right_and_the_students_alone() -> None:
    options = lkd.Options(temperature=2.0, directions="both", margin="student")
    mine, theirs = some_scores(1, inverse_t=3.0), some_scores(2, inverse_t=4.0)

    def loss(cosine_RB: Tensor, head_cosine_R: Tensor, inverse_t: Tensor) -> Tensor:
        moved = changed(mine, cosine_RB=cosine_RB, head_cosine_R=head_cosine_R, inverse_t=inverse_t)
        return lkd.lkd_loss(moved, theirs, options)

    assert mine.head_cosine_R is not None
    assert torch.autograd.gradcheck(loss, (mine.cosines, mine.head_cosine_R, mine.inverse_t))
    lkd.make(options, setting())(mine, theirs).backward()  # type: ignore[no-untyped-call]
    assert mine.cosines.grad is not None
    assert theirs.cosines.grad is None and theirs.inverse_t.grad is None


# --- patient distillation -------------------------------------------------------------------------------------------

U, D = 6, 8
ROWS: dict[Role, list[int]] = {"hr": [0, 1, 2, 3, 1], "tail": [2, 0, 0, 3, 1], "head": [4, 5, 1, 0, 2]}


def setting(**fields: Any) -> Setting:
    known = {"student_layers": 3, "teacher_layers": 6, "student_width": D, "teacher_width": D}
    return Setting(**{**known, "loss_sequences": ("hr", "tail"), **fields})


def sides(seed: int, *, layers: int = 2, width: int = D) -> Outputs:
    luck = torch.Generator().manual_seed(seed)

    def states(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=luck, dtype=torch.float64).requires_grad_()

    def side() -> Side:
        return Side(states(U, width), None, states(layers, U, width), states(layers, U, width))

    return Outputs(side(), side())


def facts() -> Facts:
    nothing = torch.zeros(0, dtype=torch.long)
    rows = {role: torch.tensor(places) for role, places in ROWS.items()}
    every = torch.ones(B, B) > 0
    return Facts(rows, every, every[0], {"hr": Watched(nothing, nothing), "tail": Watched(nothing, nothing)})


def plain_pkd(mine: Outputs, theirs: Outputs, options: pkd.Options, *, roles: tuple[Role, ...], project: Any) -> float:
    """One text, one layer, one dimension after the other."""

    def state(outputs: Outputs, role: Role, layer: int, row: int) -> Tensor:
        side = outputs.hr if role == "hr" else outputs.tail
        states = side.first_KUD if options.state == "first" else side.mean_KUD
        assert states is not None
        return states[layer, row]

    def prepared(vector: Tensor) -> list[float]:
        values: list[float] = vector.tolist()
        length = math.sqrt(math.fsum(value**2 for value in values)) if options.normalise == "l2" else 1.0
        return [value / length for value in values]

    total = 0.0
    for role in roles:
        gaps = []
        for row, layer in itertools.product(ROWS[role], range(2)):
            pair = (prepared(project(state(mine, role, layer, row))), prepared(state(theirs, role, layer, row)))
            squares = [(one - other) ** 2 for one, other in zip(*pair, strict=True)]
            gaps.append(math.fsum(squares) / (len(squares) if options.reduction == "mean" else 1))
        total += math.fsum(gaps) / len(gaps)
    return total


@pytest.mark.parametrize("state", ["first", "mean"])
@pytest.mark.parametrize("normalise", ["l2", "none"])
@pytest.mark.parametrize("reduction", ["mean", "sum_dims"])
@pytest.mark.parametrize("roles", [("hr", "tail"), ("tail",), ("hr", "tail", "head")])
def test_pkd_against_loops(state: str, normalise: str, reduction: str, roles: tuple[Role, ...]) -> None:
    """Texts that several queries use count once for each; the width may differ."""
    options = pkd.Options.model_validate({"state": state, "normalise": normalise, "reduction": reduction})
    for width in (D, D - 3):
        loss = pkd.make(options, setting(loss_sequences=roles, student_width=width)).double()
        weights = list(loss.parameters())
        assert [tuple(weight.shape) for weight in weights] == ([] if width == D else [(D, width), (D,)])
        mine, theirs = sides(1, width=width), sides(2)
        expected = plain_pkd(
            mine, theirs, options, roles=roles, project=lambda x, w=weights: w[0] @ x + w[1] if w else x
        )
        assert loss(mine, theirs, facts()).item() == pytest.approx(expected, **TIGHT)


@pytest.mark.parametrize(
    ("student", "teacher", "skip", "last"),
    [
        (6, 12, (2, 4, 6, 8, 10), (7, 8, 9, 10, 11)),  # Sun et al. 2019: PKD-Skip and PKD-Last
        (3, 12, (4, 8), (10, 11)),
        (9, 12, (1, 2, 4, 5, 6, 8, 9, 10), (4, 5, 6, 7, 8, 9, 10, 11)),
        (3, 6, (2, 4), (4, 5)),
        (4, 4, (1, 2, 3), (1, 2, 3)),
        (2, 3, (1,), (2,)),
    ],
)
def test_which_layers_are_compared(student: int, teacher: int, skip: tuple[int, ...], last: tuple[int, ...]) -> None:
    depths = setting(student_layers=student, teacher_layers=teacher)
    below = tuple(range(1, student))
    assert pkd.layers_compared(pkd.Options(), depths) == (below, skip)
    assert pkd.layers_compared(pkd.Options(layer_map="last"), depths) == (below, last)
    assert pkd.needs(pkd.Options(), depths) == (States(first=True, layers=below), States(first=True, layers=skip))
    means = pkd.needs(pkd.Options(state="mean", layer_map="last"), depths)
    assert means == (States(mean=True, layers=below), States(mean=True, layers=last))


@given(st.integers(1, 24), st.integers(0, 24), st.sampled_from(["skip", "last"]))
def test_layers_rise_and_lie_below_the_teachers_last(student: int, more: int, layer_map: Any) -> None:
    depths = setting(student_layers=student, teacher_layers=student + more)
    mine, theirs = pkd.layers_compared(pkd.Options(layer_map=layer_map), depths)
    assert len(mine) == len(theirs) == student - 1
    assert list(theirs) == sorted(set(theirs)) and all(1 <= layer < student + more for layer in theirs)


def test_a_student_of_one_layer_has_none_to_compare() -> None:
    one = setting(student_layers=1)
    assert pkd.needs(pkd.Options(), one) == (States(), States())
    empty = Outputs(Side(torch.randn(U, D)), Side(torch.randn(U, D)))
    assert pkd.make(pkd.Options(), one)(empty, empty, facts()).item() == 0.0


def test_pkd_is_zero_at_equality_and_bounded_and_blind_to_length() -> None:
    options, mine, theirs = pkd.Options(), sides(1), sides(2)
    loss = pkd.make(options, setting())
    assert loss(mine, mine, facts()).item() == 0.0

    def scaled(outputs: Outputs, factor: float) -> Outputs:
        return Outputs(
            *(Side(s.pooled_UD, None, s.first_KUD * factor, s.mean_KUD) for s in (outputs.hr, outputs.tail))  # type: ignore[operator, arg-type]
        )

    found = loss(mine, theirs, facts()).item()
    assert 0.0 < found <= 2 * 4 / D
    assert loss(scaled(mine, 3.0), scaled(theirs, 0.2), facts()).item() == pytest.approx(found, **TIGHT)
    assert loss(mine, scaled(mine, -1.0), facts()).item() == pytest.approx(2 * 4 / D)
    bare = pkd.make(pkd.Options(normalise="none"), setting())
    assert bare(scaled(mine, 2.0), scaled(theirs, 2.0), facts()).item() == pytest.approx(
        4 * bare(mine, theirs, facts()).item()
    )


@pytest.mark.parametrize("state", ["first", "mean"])
def test_pkds_gradients_are_right_and_the_students_alone(state: Any) -> None:
    loss = pkd.make(pkd.Options(state=state, projector="linear"), setting()).double()
    mine, theirs = sides(1), sides(2)
    name, other = ("first_KUD", "mean_KUD") if state == "first" else ("mean_KUD", "first_KUD")

    def of(hr_KUD: Tensor, tail_KUD: Tensor) -> Tensor:
        towers = (Side(mine.hr.pooled_UD, **{name: states_KUD}) for states_KUD in (hr_KUD, tail_KUD))
        found: Tensor = loss(Outputs(*towers), theirs, facts())
        return found

    assert torch.autograd.gradcheck(of, (getattr(mine.hr, name), getattr(mine.tail, name)))
    loss(mine, theirs, facts()).backward()
    for side in (mine.hr, mine.tail):
        assert getattr(side, name).grad.abs().sum() > 0
        assert getattr(side, other).grad is None and side.pooled_UD.grad is None
    assert all(getattr(side, name).grad is None for side in (theirs.hr, theirs.tail))
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in loss.parameters())


def test_an_unused_text_gets_no_gradient() -> None:
    mine, theirs = sides(1), sides(2)
    pkd.make(pkd.Options(), setting())(mine, theirs, facts()).backward()
    grad = mine.hr.first_KUD.grad  # type: ignore[union-attr]
    assert grad is not None and not grad[:, 4:].any() and grad[:, :4].abs().sum(-1).min() > 0


def test_widths_must_fit_where_no_map_is_wanted() -> None:
    with pytest.raises(ValueError, match=r"pkd\.projector none needs equal widths, got 6 and 8; use auto"):
        pkd.make(pkd.Options(projector="none"), setting(student_width=6))


# --- what of it enters a stage key ----------------------------------------------------------------------------------


def key(**settings: Any) -> str:
    drafts = [{"layers": [4, 4, 2], "mask.rate": 0.0, "loss.feature": "pkd", "loss.beta": 0.5}, settings]
    chain = build_chain(drafts, source="test")
    return stage_key(
        chain, chain.grades[-1], dataset_fingerprint="d", encoder_fingerprint="e", teacher_key="t", device="cpu-fp32"
    )


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("loss.beta", 0.4),
        ("loss.feature.state", "mean"),
        ("loss.feature.layer_map", "last"),
        ("mask.loss_sequences", ["hr"]),
        ("mask.per", "occurrence"),
        ("mask.rate", 0.1),
    ],
)
def test_pkd_is_read_at_mask_rate_0(setting: str, value: Any) -> None:
    assert key(**{setting: value}) != key()


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("mask.positions", "code"),
        ("mask.sampling", "with_replacement"),
        ("mask.count", "floor"),
        ("mask.min_tokens", 1),
        ("mask.sequences", ["hr"]),
        ("mask.teacher_input", "clean"),
        ("mask.replace", "attention"),
    ],
)
def test_how_tokens_are_drawn_is_not_read_by_pkd_at_mask_rate_0(setting: str, value: Any) -> None:
    assert key(**{setting: value}) == key()
    assert key(**{setting: value, "mask.rate": 0.1}) != key(**{"mask.rate": 0.1})


# --- in a training --------------------------------------------------------------------------------------------------

PKD: dict[str, Any] = {"loss__feature": "pkd", "loss__combination": "additive", "loss__alpha": 0.0, "loss__beta": 500.0}
LAST = {"name": "pkd", "state": "mean", "layer_map": "last"}
COSINES = {"name": "lkd", "space": "cosine", "directions": "both"}
LKD: dict[str, Any] = {"loss__score": {"name": "lkd", "temperature": 2.0}, "loss__alpha": 0.9, "loss__beta": 0.0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lkd_pkd")
    source = tiny_chain.written_graph(folder)
    tiny_chain.tiny(source, folder / "run", optimiser__epochs=1).train(0)
    return folder


def training(folder: Path, **settings: Any) -> _Training:
    chain = tiny_chain.tiny(folder / "tiny", folder / "run", encoder__dropout=0.0, **settings)
    return _Training(chain.stages[1], chain.shop, tiny_chain.ALONE, silent)


@pytest.mark.parametrize(
    ("part", "settings"),
    [
        ("feature", {**PKD, "mask_rates": [0.0]}),
        ("feature", {**PKD, "mask_rates": [0.2]}),
        (
            "feature",
            {**PKD, "mask_rates": [0.0], "loss__feature": LAST},
        ),
        ("feature", {**PKD, "mask_rates": [0.0], "init__width": 16}),
        ("score", {**LKD, "mask_rates": [0.0]}),
        (
            "score",
            {**LKD, "mask_rates": [0.2], "loss__score": COSINES},
        ),
    ],
    ids=["first", "masked", "mean of the last", "projector", "logits", "cosines"],
)
def test_the_loss_of_one_batch_goes_down(folder: Path, part: str, settings: dict[str, Any]) -> None:
    found = training(folder, optimiser__batch=16, **settings)
    assert found.teacher is not None
    # Hidden states are not in the teacher's table; its vectors of clean texts are.
    assert found.teacher.is_constant() is (part == "score" and settings["mask_rates"] == [0.0])
    values, batch = [], found.batches.make(0, 0)
    for done in range(10):
        log = found.step.run(batch, epoch=0, step=0, done=2, detailed=done == 0)
        values.append(log.parts[part])
        assert log.texts == log.unmasked_texts == 0
        if done == 0:
            assert log.part_gradients[part] > 0
    assert sum(values[-4:]) < 0.8 * 4 * values[0], values
    assert all(weight.grad is None for weight in found.teacher.model.parameters())


@pytest.mark.parametrize("settings", [{**PKD, **{"loss__score": "lkd", "loss__alpha": 0.5}}, LKD], ids=["both", "lkd"])
def test_a_chain_trains_with_it(folder: Path, tmp_path: Path, settings: dict[str, Any]) -> None:
    """Down to one layer, of which patient distillation compares none."""
    chain = tiny_chain.tiny(
        folder / "tiny", tmp_path, layers=(2, 2, 1), mask_rates=[0.2, 0.0], optimiser__epochs=1, **settings
    )
    results = [chain.train(place) for place in range(3)]
    assert [(result.layers, result.teacher) for result in results] == [(2, None), (2, "teacher"), (1, "2")]
    assert all(result.test and 0.0 < result.test.all.mrr <= 1.0 for result in results)
