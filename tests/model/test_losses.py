"""Every option of the label, score and feature losses against loops over single numbers."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import layer_norm

from pmd_ray.model.losses import Scores, Setting, States, mgfd, scores
from pmd_ray.model.losses.label import label_logits, label_loss
from pmd_ray.model.outputs import Facts, Outputs, Role, Side, Watched
from pmd_ray.spec.loss import LabelLossConfig

B, N = 5, 3


def some_scores(seed: int, *, head: bool = True, earlier: bool = False, inverse_t: float = 20.0) -> Scores:
    """Cosines of 5 queries; seeds share their masks, as two models of one batch do."""
    luck, masks = torch.Generator().manual_seed(seed), torch.Generator().manual_seed(99)

    def cosines(*shape: int) -> Tensor:
        return (2 * torch.rand(*shape, generator=luck, dtype=torch.float64) - 1).requires_grad_()

    negative_BB = (torch.rand(B, B, generator=masks) < 0.6) & ~torch.eye(B, dtype=torch.bool)
    head_negative_R = torch.tensor([True, False, True, True, False])
    earlier_negative_RN = torch.rand(B, N, generator=masks) < 0.5
    return Scores(
        cosine_RB=cosines(B, B),
        inverse_t=torch.tensor(inverse_t, dtype=torch.float64),
        margin=0.02,
        negative_RB=negative_BB,
        head_cosine_R=cosines(B) if head else None,
        head_negative_R=head_negative_R if head else None,
        earlier_cosine_RN=cosines(B, N) if earlier else None,
        earlier_negative_RN=earlier_negative_RN if earlier else None,
        earlier_weight=0.5,
    )


# --- label ---------------------------------------------------------------------------------------------------------


def candidates(given: Scores, row: int) -> list[float]:
    """The logits of one query's true answer (first) and of all that counts as a negative."""
    t = float(given.inverse_t)
    found = [(given.cosines[row, row].item() - 0.02) * t]
    found += [given.cosines[row, j].item() * t for j in range(B) if given.negative_RB[row, j]]
    if given.head_cosine_R is not None and given.head_negative_R is not None and given.head_negative_R[row]:
        found.append(given.head_cosine_R[row].item() * t)
    if given.earlier_cosine_RN is not None and given.earlier_negative_RN is not None:
        earlier = given.earlier_cosine_RN[:]
        found += [earlier[row, n].item() * t * 0.5 for n in range(N) if given.earlier_negative_RN[row, n]]
    return found


def queries_of(given: Scores, column: int) -> list[float]:
    """The logits of one answer's own query (first) and of the queries that it is a negative of."""
    t = float(given.inverse_t)
    own = (given.cosines[column, column].item() - 0.02) * t
    return [own, *(given.cosines[i, column].item() * t for i in range(B) if given.negative_RB[i, column])]


def surprise(logits: list[float]) -> float:
    return math.log(sum(math.exp(logit - logits[0]) for logit in logits))


@pytest.mark.parametrize("head", [False, True])
@pytest.mark.parametrize("earlier", [False, True])
@pytest.mark.parametrize("directions", ["both_summed", "both_mean", "forward"])
def test_label_loss_is_a_cross_entropy_over_what_counts(head: bool, earlier: bool, directions: str) -> None:
    given = some_scores(1, head=head, earlier=earlier)
    forward = sum(surprise(candidates(given, row)) for row in range(B)) / B
    backward = sum(surprise(queries_of(given, column)) for column in range(B)) / B
    expected = {"both_summed": forward + backward, "both_mean": (forward + backward) / 2, "forward": forward}
    loss = label_loss(given, LabelLossConfig.model_validate({"directions": directions}))
    assert loss.item() == pytest.approx(expected[directions], rel=1e-12)


def test_label_logits_put_earlier_tails_before_the_head() -> None:
    """SimKGC's order: in-batch, pre-batch, self."""
    given = some_scores(1, earlier=True)
    everything = label_logits(given, margin=0.0)
    inside = label_logits(some_scores(1, head=False), margin=0.0)
    assert inside.shape == (B, B) and everything.shape == (B, B + N + 1)
    assert torch.equal(everything[:, :B], inside)
    head = everything[:, -1]
    assert (head == -1e4).tolist() == [False, True, False, False, True]
    assert (inside == -1e4).sum() == (~given.negative_RB).sum() - B


# --- scores --------------------------------------------------------------------------------------------------------


def compared(mine: Scores, theirs: Scores, options: scores.Options) -> list[tuple[int, int, float, float, bool]]:
    """(row, column, student, teacher, is a real gap) of every entry that is counted; column B is the own head."""
    entries = []
    scaled = options.space in ("logits", "softmax_kl")
    for row, column in itertools.product(range(B), range(B + 1)):
        if column == B:
            if mine.head_cosine_R is None or options.self_negative_column == "exclude":
                continue
            assert mine.head_negative_R is not None and theirs.head_cosine_R is not None
            a, b, real = mine.head_cosine_R[row], theirs.head_cosine_R[row], bool(mine.head_negative_R[row])
        else:
            a, b, real = mine.cosines[row, column], theirs.cosines[row, column], bool(mine.negative_RB[row, column])
        student, teacher = a.item(), b.item()
        if row == column:
            if not options.diagonal:
                continue
            real = True
            student -= 0.02 if options.margin in ("student", "both") else 0.0
            teacher -= 0.02 if options.margin == "both" else 0.0
        real = real or options.false_negatives == "keep"
        if not real and options.false_negatives == "exclude":
            continue
        if scaled:
            student, teacher = student * mine.inverse_t.item(), teacher * theirs.inverse_t.item()
        entries.append((row, column, student, teacher, real))
    return entries


MATRIX_OPTIONS = list(
    itertools.product(
        ["none", "student", "both"], [True, False], ["exclude", "zero", "keep"], ["follow_ce", "exclude"], [False, True]
    )
)


@pytest.mark.parametrize("space", ["logits", "cosine"])
def test_squared_gaps(space: str) -> None:
    """All combinations of margin, diagonal, false negatives and self-negative column (2.5, C13 to C15)."""
    for margin, diagonal, false_negatives, column, head in MATRIX_OPTIONS:
        options = scores.Options.model_validate(
            {
                "space": space,
                "margin": margin,
                "diagonal": diagonal,
                "false_negatives": false_negatives,
                "self_negative_column": column,
            }
        )
        mine, theirs = some_scores(1, head=head), some_scores(2, head=head, inverse_t=31.0)
        entries = compared(mine, theirs, options)
        expected = sum((a - b) ** 2 for _, _, a, b, real in entries if real) / len(entries)
        found = scores.score_loss(mine, theirs, options).item()
        assert found == pytest.approx(expected, rel=1e-12), (space, margin, diagonal, false_negatives, column, head)


def test_the_released_margin_pulls_positives_apart() -> None:
    """C14: two equal models still differ by margin / t on every positive; `none` and `both` say zero."""
    mine = some_scores(1, head=False)
    gaps = {
        margin: scores.score_loss(mine, mine, scores.Options.model_validate({"margin": margin})).item()
        for margin in ("none", "student", "both")
    }
    counted = int(mine.negative_RB.sum()) + B
    assert gaps["none"] == gaps["both"] == 0.0
    assert gaps["student"] == pytest.approx(B * (0.02 * 20.0) ** 2 / counted)


def test_false_negatives_only_dilute() -> None:
    """C15: `zero` is `exclude` times the share of compared entries."""
    mine, theirs = some_scores(1, head=False), some_scores(2, head=False)
    excluded, zero = (
        scores.score_loss(mine, theirs, scores.Options.model_validate({"false_negatives": choice})).item()
        for choice in ("exclude", "zero")
    )
    share = (int(mine.negative_RB.sum()) + B) / B**2
    assert zero == pytest.approx(excluded * share) and share < 0.9


def kl(rows: list[list[tuple[float, float]]], temperature: float) -> float:
    """T^2 times the mean over rows of sum p_teacher (log p_teacher - log p_student)."""
    total = 0.0
    for row in rows:
        students, teachers = ([value / temperature for value in side] for side in zip(*row, strict=True))
        log_zs, log_zt = (math.log(sum(math.exp(x - max(v)) for x in v)) + max(v) for v in (students, teachers))
        total += sum(
            math.exp(t - log_zt) * ((t - log_zt) - (s - log_zs)) for s, t in zip(students, teachers, strict=True)
        )
    return temperature**2 * total / len(rows)


@pytest.mark.parametrize("directions", ["once", "both"])
@pytest.mark.parametrize("temperature", [1.0, 4.0])
@pytest.mark.parametrize("head", [False, True])
@pytest.mark.parametrize("false_negatives", ["exclude", "zero", "keep"])
@pytest.mark.parametrize("margin", ["none", "student"])
def test_softmax_kl(directions: str, temperature: float, head: bool, false_negatives: str, margin: str) -> None:
    options = scores.Options.model_validate(
        {
            "space": "softmax_kl",
            "temperature": temperature,
            "directions": directions,
            "false_negatives": false_negatives,
            "margin": margin,
        }
    )
    mine, theirs = some_scores(1, head=head, inverse_t=5.0), some_scores(2, head=head, inverse_t=7.0)
    entries = [entry for entry in compared(mine, theirs, options) if entry[4]]
    forward = kl([[(s, t) for i, _, s, t, _ in entries if i == row] for row in range(B)], temperature)
    backward = kl([[(s, t) for _, j, s, t, _ in entries if j == column] for column in range(B)], temperature)
    expected = forward if directions == "once" else (forward + backward) / 2
    assert scores.score_loss(mine, theirs, options).item() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("false_negatives", ["exclude", "zero", "keep"])
@pytest.mark.parametrize("head", [False, True])
def test_margin_mse_compares_distances_below_the_positive(false_negatives: str, head: bool) -> None:
    options = scores.Options.model_validate({"space": "margin", "false_negatives": false_negatives})
    mine, theirs = some_scores(1, head=head), some_scores(2, head=head, inverse_t=31.0)
    entries = [entry for entry in compared(mine, theirs, options) if entry[0] != entry[1]]
    own = {row: (mine.cosines[row, row].item(), theirs.cosines[row, row].item()) for row in range(B)}
    gaps = [(own[i][0] - a - (own[i][1] - b)) ** 2 for i, _, a, b, real in entries if real]
    assert scores.score_loss(mine, theirs, options).item() == pytest.approx(sum(gaps) / len(entries), rel=1e-12)


@pytest.mark.parametrize("space", ["logits", "cosine", "softmax_kl", "margin"])
def test_score_gradients_are_finite_and_right(space: str) -> None:
    options = scores.Options.model_validate({"space": space, "margin": "student", "directions": "both"})
    mine, theirs = some_scores(1, inverse_t=3.0), some_scores(2, inverse_t=4.0)

    def loss(cosine_RB: Tensor, inverse_t: Tensor) -> Tensor:
        moved = Scores(cosine_RB, inverse_t, 0.02, mine.negative_RB, mine.head_cosine_R, mine.head_negative_R)
        return scores.score_loss(moved, theirs, options)

    inverse_t = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(loss, (mine.cosines, inverse_t))


# --- mgfd ----------------------------------------------------------------------------------------------------------

D, K = 8, 2
ROWS: dict[Role, list[int]] = {"hr": [0, 1, 2, 3, 1], "tail": [2, 0, 0, 3, 1], "head": [4, 4, 1, 0, 2]}
DRAWN = {"hr": {0: [1, 2], 1: [2], 3: [1, 1, 3]}, "tail": {0: [1], 2: [3, 3, 1, 2], 4: [5]}}
"""By tower and distinct text, the drawn positions with repeats; hr 2, tail 1 and tail 3 have none."""


def setting(**changes: Any) -> Setting:
    known = {"student_layers": 2, "teacher_layers": 4, "student_width": D, "teacher_width": D}
    return Setting(**{**known, "loss_sequences": ("hr", "tail"), **changes})


def sides(seed: int, width: int, layers: int, drawn: dict[str, dict[int, list[int]]]) -> Outputs:
    luck = torch.Generator().manual_seed(seed)

    def side(tower: str) -> Side:
        watched = sum(len(set(positions)) for positions in drawn[tower].values())
        pooled = torch.nn.functional.normalize(torch.randn(5, width, generator=luck, dtype=torch.float64), dim=-1)
        tokens = torch.randn(layers, watched, width, generator=luck, dtype=torch.float64)
        whole = Side(pooled.requires_grad_(), tokens.requires_grad_())
        return replace(whole, watched_KUD=means(whole, tower, drawn))

    return Outputs(side("hr"), side("tail"))


def means(side: Side, tower: str, drawn: dict[str, dict[int, list[int]]]) -> Tensor:
    """[K, U, D] of each text's watched tokens, with the gradient of the tokens."""
    assert side.tokens_KMD is not None
    found = []
    for layer in range(len(side.tokens_KMD)):
        for row in range(len(side.pooled_UD)):
            pairs = states_of(side, tower, row, layer, drawn)
            many = sum(weight for weight, _ in pairs)
            zero = torch.zeros(side.pooled_UD.shape[1], dtype=torch.float64)
            found.append(sum((weight * state for weight, state in pairs), zero) / max(many, 1))
    return torch.stack(found).view(len(side.tokens_KMD), *side.pooled_UD.shape)


def facts(drawn: dict[str, dict[int, list[int]]]) -> Facts:
    def watched(tower: str) -> Watched:
        pairs = [(row, positions.count(p)) for row, positions in drawn[tower].items() for p in sorted(set(positions))]
        return Watched(
            torch.tensor([row for row, _ in pairs], dtype=torch.long),
            torch.tensor([weight for _, weight in pairs], dtype=torch.long),
        )

    rows = {role: torch.tensor(places) for role, places in ROWS.items()}
    nothing = torch.ones(B, B) > 0
    return Facts(rows, nothing, nothing[0], {"hr": watched("hr"), "tail": watched("tail")})


def prepared(vector: Tensor, options: mgfd.Options) -> Tensor:
    if options.normalise == "l2":
        unit: Tensor = vector / vector.square().sum().sqrt()
        return unit
    if options.normalise == "layernorm":
        centred = vector - vector.mean()
        scaled: Tensor = centred / (centred.square().mean() + 1e-5).sqrt()
        return scaled
    return vector


def states_of(
    side: Side, tower: str, row: int, layer: int, drawn: dict[str, dict[int, list[int]]]
) -> list[tuple[int, Tensor]]:
    """(how often drawn, state) of one text's watched tokens."""
    assert side.tokens_KMD is not None
    place = 0
    for text, positions in drawn[tower].items():
        for position in sorted(set(positions)):
            if text == row and position == min(positions):
                count = len(set(positions))
                weights = [positions.count(p) for p in sorted(set(positions))]
                return list(zip(weights, side.tokens_KMD[layer, place : place + count], strict=True))
            place += 1
    return []


def expected_feature_loss(
    student: Outputs,
    teacher: Outputs,
    options: mgfd.Options,
    *,
    roles: tuple[Role, ...],
    project: Any,
    layers: int,
    drawn: dict[str, dict[int, list[int]]],
) -> Tensor:
    total = torch.zeros((), dtype=torch.float64)
    for role in roles:
        tower = "hr" if role == "hr" else "tail"
        mine, theirs = getattr(student, tower), getattr(teacher, tower)
        for layer in range(layers if options.feature != "sequence" else 1):
            gaps: list[Tensor] = []
            for row in ROWS[role]:
                if options.feature == "sequence":
                    pairs = [(project(mine.pooled_UD[row]), theirs.pooled_UD[row])]
                else:
                    ours = [(w, project(h)) for w, h in states_of(mine, tower, row, layer, drawn)]
                    other = states_of(theirs, tower, row, layer, drawn)
                    if options.feature == "tokens":
                        both = zip(ours, other, strict=True)
                        pairs = [(a, b) for (weight, a), (_, b) in both for _ in range(weight)]
                    elif not ours:
                        gaps.append(torch.zeros((), dtype=torch.float64))
                        continue
                    else:
                        many = sum(weight for weight, _ in ours)
                        pairs = [tuple(sum(w * h for w, h in side) / many for side in (ours, other))]  # type: ignore[list-item]
                for a, b in pairs:
                    square = (prepared(a, options) - prepared(b, options)).square().sum()
                    gaps.append(square / (len(b) if options.reduction == "mean" else 1))
            if gaps:
                total = total + torch.stack(gaps).mean() / (layers if options.feature != "sequence" else 1)
    return total


@pytest.mark.parametrize("feature", ["masked_mean", "tokens", "sequence"])
@pytest.mark.parametrize("normalise", ["l2", "none", "layernorm"])
@pytest.mark.parametrize("reduction", ["mean", "sum_dims"])
def test_features_against_loops(feature: str, normalise: str, reduction: str) -> None:
    """C6, C7: every pooling, normalisation and mean; shared texts count once for each of their queries."""
    for empty, roles, layers in itertools.product(
        ["skip", "ones"], [("hr", "tail"), ("hr",), ("hr", "tail", "head")], ["last", "mapped"]
    ):
        options = mgfd.Options.model_validate(
            {"feature": feature, "normalise": normalise, "reduction": reduction, "empty": empty, "layers": layers}
        )
        count = 2 if layers == "mapped" else 1
        student, teacher = sides(1, D, count, DRAWN), sides(2, D, count, DRAWN)
        loss = mgfd.make(options, setting(loss_sequences=roles)).double()
        found = loss(student, teacher, facts(DRAWN))
        wanted = expected_feature_loss(
            student,
            teacher,
            options,
            roles=roles,  # type: ignore[arg-type]
            project=lambda vector: vector,
            layers=count,
            drawn=DRAWN,
        )
        torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("projector", "width"), [("auto", 6), ("linear", D), ("linear", 6), ("generation", 6)])
@pytest.mark.parametrize("feature", ["masked_mean", "tokens", "sequence"])
def test_projectors_map_the_students_vectors_only(projector: str, width: int, feature: str) -> None:
    options = mgfd.Options.model_validate({"feature": feature, "projector": projector})
    student, teacher = sides(1, width, 1, DRAWN), sides(2, D, 1, DRAWN)
    torch.manual_seed(0)
    loss = mgfd.make(options, setting(student_width=width)).double()
    weights = dict(loss.named_parameters())
    if projector == "generation":
        assert [tuple(w.shape) for w in weights.values()] == [(D, width), (D,), (D, D), (D,)]

        def project(vector: Tensor) -> Tensor:
            first, first_bias, second, second_bias = weights.values()
            return second @ torch.nn.functional.gelu(first @ vector + first_bias) + second_bias
    else:

        def project(vector: Tensor) -> Tensor:
            weight, bias = weights.values()
            return weight @ vector + bias

    found = loss(student, teacher, facts(DRAWN))
    wanted = expected_feature_loss(
        student, teacher, options, roles=("hr", "tail"), project=project, layers=1, drawn=DRAWN
    )
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)
    found.backward()
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in weights.values())


def test_widths_decide_on_an_auto_projector() -> None:
    """C11: unequal widths need one; the released code cannot have them."""
    assert not list(mgfd.make(mgfd.Options(), setting()).parameters())
    assert len(list(mgfd.make(mgfd.Options(), setting(student_width=6)).parameters())) == 2
    with pytest.raises(ValueError, match="equal widths, got 6 and 8"):
        mgfd.make(mgfd.Options(projector="none"), setting(student_width=6))


def test_what_towers_must_hand_out() -> None:
    last, mapped = mgfd.Options(), mgfd.Options(layers="mapped")
    assert mgfd.needs(last, setting()) == (States(watched=True, layers=(2,)), States(watched=True, layers=(4,)))
    deep = setting(student_layers=3, teacher_layers=12)
    assert mgfd.needs(mapped, deep) == (
        States(watched=True, layers=(1, 2, 3)),
        States(watched=True, layers=(4, 8, 12)),
    )
    for by_token in (mgfd.Options(feature="tokens"), mgfd.Options(projector="generation")):
        assert mgfd.needs(by_token, setting()) == (
            States(tokens=True, layers=(2,)),
            States(tokens=True, layers=(4,)),
        )
    assert mgfd.needs(mgfd.Options(feature="sequence"), setting()) == (States(), States())


@pytest.mark.parametrize("feature", ["masked_mean", "tokens"])
def test_nothing_watched_is_no_loss(feature: str) -> None:
    """2.3, C3, C7: at rate 0 the feature loss is exactly 0, with gradient 0 and nothing that is not a number."""
    nothing: dict[str, dict[int, list[int]]] = {"hr": {}, "tail": {}}
    for empty in ("skip", "ones"):
        options = mgfd.Options.model_validate({"feature": feature, "empty": empty})
        student, teacher = sides(1, D, 1, nothing), sides(2, D, 1, nothing)
        loss = mgfd.make(options, setting())(student, teacher, facts(nothing))
        assert loss.item() == 0.0
        if loss.requires_grad:
            loss.backward()
        assert student.hr.pooled_UD.grad is None or not student.hr.pooled_UD.grad.any()


def test_no_sequences_is_no_loss() -> None:
    student, teacher = sides(1, D, 1, DRAWN), sides(2, D, 1, DRAWN)
    loss = mgfd.make(mgfd.Options(), setting(loss_sequences=()))(student, teacher, facts(DRAWN))
    assert loss.item() == 0.0 and loss.shape == ()


def test_the_released_feature_loss_is_bounded_by_4_over_d() -> None:
    """2.2, C6: opposite unit vectors give 4 / D for each input; summed over dimensions it is 4."""
    one = {"hr": {row: [1] for row in range(5)}, "tail": {row: [1] for row in range(5)}}
    student = sides(1, D, 1, one)
    teacher = Outputs(*(side.changed(lambda part: -part.tensor) for side in (student.hr, student.tail)))
    for reduction, bound in (("mean", 2 * 4 / D), ("sum_dims", 2 * 4.0)):
        loss = mgfd.make(mgfd.Options.model_validate({"reduction": reduction}), setting())
        assert loss(student, teacher, facts(one)).item() == pytest.approx(bound)


def test_layernorm_is_torchs() -> None:
    vector = torch.randn(D, dtype=torch.float64)
    torch.testing.assert_close(prepared(vector, mgfd.Options(normalise="layernorm")), layer_norm(vector, (D,)))


@pytest.mark.parametrize("projector", ["none", "generation"])
def test_pooling_does_not_loop_over_rows(projector: str) -> None:
    """C12: the released loop's backward pass is quadratic in the batch; here the graph does not grow with it."""
    options = mgfd.Options.model_validate({"projector": projector})

    def nodes(texts: int) -> int:
        watched = Watched(torch.arange(texts).repeat_interleave(2), torch.ones(2 * texts, dtype=torch.long))
        tokens = torch.randn(1, 2 * texts, D, requires_grad=True)
        side = Side(torch.randn(texts, D), tokens, watched_KUD=torch.randn(1, texts, D, requires_grad=True))
        rows: dict[Role, Tensor] = {"hr": torch.arange(texts), "tail": torch.arange(texts)}
        every = Facts(rows, torch.ones(1) > 0, torch.ones(1) > 0, {"hr": watched, "tail": watched})
        loss = mgfd.make(options, setting())(Outputs(side, side), Outputs(side, side), every)
        seen, left = set(), [loss.grad_fn]
        while left:
            node = left.pop()
            if node is not None and node not in seen:
                seen.add(node)
                left += [parent for parent, _ in node.next_functions]
        return len(seen)

    assert nodes(4) == nodes(64)
