"""Stage keys: equal for equal content, different for each field that changes a result."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from pmd_ray.spec.chain import ChainConfig
from pmd_ray.spec.draft import build_chain
from pmd_ray.spec.grade import GradeConfig
from pmd_ray.spec.keys import canonical_json, digest, grade_identity, stage_key

EVERYTHING_READ: dict[str, Any] = {
    "layers": [6, 6, 4],
    "mask.rate": 0.2,
    "optimiser.schedule": "wsd",
    "loss.ce": {"pre_batch": 1, "self_negatives": True},
    "evaluation.rerank": {"weight": 0.1, "hops": 3},
}
OTHERS = {
    "layers": 3,
    "dataset.text.max_tokens": 60,
    "mask.sequences": ["hr"],
    "mask.loss_sequences": ["hr"],
    "init.source": "teacher",
    "init.layer_map": "top",
    "loss.combination": "additive",
    "loss.score.name": "lkd",
    "loss.feature.name": "pkd",
}
"""Another legal value where the type does not say one."""
NOT_READ = {"name", "teacher", "optimiser.micro_batch"}
"""The teacher enters by its key; a micro-batch changes memory only."""
ONE_PART = {"mask.policy"}
"""There is only one plugin of the kind yet."""


def key(chain: ChainConfig, place: int = -1, **changed: Any) -> str:
    facts: dict[str, Any] = {
        "dataset_fingerprint": "d",
        "encoder_fingerprint": "e",
        "teacher_key": "t" if chain.teacher_of(place % len(chain.grades)) is not None else None,
        "device": "cpu-fp32",
    }
    return stage_key(chain, chain.grades[place], **{**facts, **changed})


def build(*drafts: dict[str, Any]) -> ChainConfig:
    return build_chain([EVERYTHING_READ, *drafts], source="test")


def leaves(model: BaseModel, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from leaves(value, f"{path}{name}.")
        elif name != "grades":
            yield f"{path}{name}", field.annotation, value


def another(path: str, annotation: Any, value: Any) -> Any:
    """Another legal value of a field."""
    if path in OTHERS:
        return OTHERS[path]
    if isinstance(value, bool):
        return not value
    if get_origin(annotation) is Literal:
        return next(other for other in get_args(annotation) if other != value)
    if value is None:
        return 0.3 if float in get_args(annotation) else 64
    return value / 2 if isinstance(value, float) else value + 1


CHAIN = build()
GRADE_LEAVES = [leaf for leaf in leaves(CHAIN.grades[-1]) if leaf[0] not in NOT_READ | ONE_PART]
TEXT_LEAVES = list(leaves(CHAIN.dataset.text, "dataset.text."))
CHAIN_LEAVES = [*TEXT_LEAVES, *leaves(CHAIN.evaluation, "evaluation.")]
ENCODER_LEAVES = [
    leaf for leaf in leaves(CHAIN.encoder, "encoder.") if leaf[0] in ("encoder.towers", "encoder.pooling")
]


def test_the_walk_sees_the_fields() -> None:
    seen = {path for path, _, _ in GRADE_LEAVES}
    assert {"mask.rate", "loss.score.space", "loss.feature.layers", "optimiser.lr", "select.checkpoint"} <= seen
    assert len(seen) > 45


@pytest.mark.parametrize(("path", "annotation", "value"), GRADE_LEAVES, ids=[leaf[0] for leaf in GRADE_LEAVES])
def test_each_field_of_a_grade_changes_the_key(path: str, annotation: Any, value: Any) -> None:
    assert key(build({f"grades.4.{path}": another(path, annotation, value)})) != key(CHAIN)


@pytest.mark.parametrize(
    ("path", "annotation", "value"),
    [*CHAIN_LEAVES, *ENCODER_LEAVES, ("encoder.dropout", float | None, None), ("seed", int, 0)],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_field_of_the_chain_changes_the_key(path: str, annotation: Any, value: Any) -> None:
    assert key(build({path: another(path, annotation, value)})) != key(CHAIN)


@pytest.mark.parametrize("fact", ["dataset_fingerprint", "encoder_fingerprint", "teacher_key", "device", "seed"])
def test_each_fact_changes_the_key(fact: str) -> None:
    changed: dict[str, Any] = {fact: 7 if fact == "seed" else "other"}
    assert key(CHAIN, **changed) != key(CHAIN)


@pytest.mark.parametrize(
    ("settings", "change"),
    [
        ({}, {"grades.4.optimiser.micro_batch": 8}),
        ({}, {"controls": True}),
        ({}, {"dataset.source": "elsewhere"}),
        ({}, {"encoder.name": "elsewhere"}),
        ({}, {"grades.4.teacher": "6"}),
        ({}, {"optimiser.schedule_epochs": 50}),
        ({"optimiser.schedule": "linear"}, {"optimiser.decay_share": 0.5}),
        ({"optimiser.schedule": "cosine"}, {"optimiser.decay_share": 0.5}),
        ({"loss.ce.pre_batch": 0}, {"loss.ce.pre_batch_weight": 0.1}),
        ({"loss.alpha": 0}, {"loss.score.space": "cosine", "mask.for_score": "clean"}),
        ({"loss.beta": 0}, {"loss.feature.feature": "tokens"}),
        ({"loss.beta": 0, "mask.rate": 0}, {"mask.positions": "code", "mask.teacher_input": "clean"}),
        ({"mask.rate": 0}, {"mask.replace": "attention", "mask.for_ce": "clean"}),
        ({"dataset.text.neighbours": False}, {"dataset.text.max_neighbours": 3}),
        ({"dataset.text.description": False}, {"dataset.text.neighbours_below_words": 3}),
        ({"grades.4.teacher": "none"}, {"loss.alpha": 0.3, "loss.combination": "adaptive", "mask.positions": "code"}),
    ],
    ids=str,
)
def test_what_nothing_reads_leaves_the_key(settings: dict[str, Any], change: dict[str, Any]) -> None:
    assert key(build(settings, change)) == key(build(settings))


def test_a_teacher_is_shared_by_every_way_to_distil_it() -> None:
    plain, other = build(), build({"mask.rate": 0.4, "loss.alpha": 0.3, "loss.feature.feature": "tokens"})
    assert key(plain, 0) == key(other, 0)
    assert key(plain, 1) != key(other, 1)


def test_a_grades_name_leaves_the_key() -> None:
    named = build({"grades": {"big": {"layers": 6}, "mid": {"layers": 6}, "small": {"layers": 4}}})
    assert [key(named, place) for place in range(3)] == [key(CHAIN, place) for place in range(3)]


def test_the_seed_of_a_stage_may_be_said() -> None:
    assert key(CHAIN, seed=3) == key(build({"seed": 3}))


def test_the_control_differs_from_its_student() -> None:
    control = CHAIN.control_of(CHAIN.grades[-1])
    assert grade_identity(control, taught=False) != grade_identity(CHAIN.grades[-1], taught=True)
    assert grade_identity(control, taught=False)["mask"]["rate"] == 0.0


@given(st.dictionaries(st.text(), st.integers() | st.text() | st.floats(allow_nan=False, allow_infinity=False)))
def test_the_order_of_keys_leaves_the_digest(value: dict[str, Any]) -> None:
    assert canonical_json(dict(reversed(value.items()))) == canonical_json(value)
    assert digest(dict(reversed(value.items()))) == digest(value)


def test_not_a_number_has_no_digest() -> None:
    with pytest.raises(ValueError):
        digest({"a": float("nan")})


GOLDEN = """
from pmd_ray.spec.chain_file import load_chain
from pmd_ray.spec.keys import stage_key
chain = load_chain("pmd_code")
facts = {"dataset_fingerprint": "d", "encoder_fingerprint": "e", "device": "cpu-fp32"}
print(stage_key(chain, chain.grades[0], teacher_key=None, **facts))
print(stage_key(chain, chain.grades[1], teacher_key="t", **facts))
"""
# When these change, stored stages are no longer found. A new field that changes no result at its default may be left
# out of the identity there; where results do change, METHOD_VERSION in spec/keys.py must be raised. Then renew both.
TEACHER = "123662b930b14a4b16233ea948b51774a832579bc93f4d14e0596e45bcd80c48"
STUDENT = "790f83b755a80118412073264ff4d5f2dfb485139489e6e729b549f10d43a77c"


@pytest.mark.parametrize("hash_seed", ["0", "1"])
def test_keys_stay_the_same_in_every_process(hash_seed: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", GOLDEN], env={"PYTHONHASHSEED": hash_seed}, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [TEACHER, STUDENT]


def test_grades_of_equal_content_are_equal() -> None:
    assert GradeConfig(name="6", layers=6) == GradeConfig.model_validate({"layers": 6, "name": "6"})
