"""Stage keys: the hash of everything that changes a stage's result, from canonical JSON."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from pmd_ray.spec.chain import ChainConfig
from pmd_ray.spec.dataset import TextConfig
from pmd_ray.spec.grade import GradeConfig

METHOD_VERSION = 2
"""Raised by hand when the same configuration gives other numbers than rounding does, in which CPUs and libraries differ
too; never a commit."""


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def digest(value: Any) -> str:
    """SHA-256 (hex) of the canonical JSON."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def grade_identity(grade: GradeConfig, *, taught: bool) -> dict[str, Any]:
    """What of a grade changes its result: its name does not, nor how memory is met, nor what nothing reads.

    The teacher enters by its key, not by how it was asked for.
    """
    identity = grade.model_dump(mode="json", exclude={"name", "teacher"})
    loss, optimiser = identity["loss"], identity["optimiser"]
    del optimiser["micro_batch"]
    if optimiser["steps_per_epoch"] is None:
        del optimiser["steps_per_epoch"]
    optimiser["schedule_epochs"] = optimiser["schedule_epochs"] or optimiser["epochs"]
    if not loss["ce"]["pre_batch"]:
        del loss["ce"]["pre_batch_weight"]
    if not taught:
        for unread in ("alpha", "beta", "combination"):
            del loss[unread]
    if not (taught and grade.loss.alpha):
        del loss["score"]
    if not (taught and grade.loss.beta):
        del loss["feature"]
    identity["mask"] = {key: identity["mask"][key] for key in _mask_fields_read(grade, taught=taught)}
    return identity


def _mask_fields_read(grade: GradeConfig, *, taught: bool) -> list[str]:
    """The fields of a mask that change this grade's result."""
    scored, featured = taught and grade.loss.alpha > 0, taught and grade.loss.beta > 0
    # Where heads are encoded, a text shares its encoding, and so its dropout, with a tail that is treated alike.
    shared = {"sequences", "loss_sequences"} if grade.loss.ce.self_negatives else set()
    if grade.mask.rate == 0.0:
        # A feature loss may look at random positions although nothing is masked, or at whole texts.
        drawn = {"policy", "sequences", "positions", "sampling", "count", "min_tokens", "per"}
        looked_at = {"loss_sequences"} | (drawn if grade.loss.feature.looks_at_tokens else set())
        # Each occurrence has dropout of its own, whether or not it is masked.
        apart = {"per"} if grade.mask.per == "occurrence" else set()
        return sorted({"rate"} | shared | apart | (looked_at if featured else set()))
    unread = {"teacher_input"} if not (scored or featured) else set()
    unread |= set() if scored else {"for_score"}
    unread |= set() if featured else {"loss_sequences"} - shared
    return sorted(set(type(grade.mask).model_fields) - unread)


def text_identity(text: TextConfig) -> dict[str, Any]:
    """What of the texts' options changes them."""
    unread = set() if text.neighbours else {"neighbours_below_words", "max_neighbours"}
    unread |= set() if text.description else {"neighbours_below_words"}  # a name alone is always short
    return text.model_dump(mode="json", exclude=unread)


def stage_key(
    chain: ChainConfig,
    grade: GradeConfig,
    *,
    dataset_fingerprint: str,
    encoder_fingerprint: str,
    teacher_key: str | None,
    device: str,
    seed: int | None = None,
) -> str:
    """The key of one stage (hex, 64 characters).

    `device` is the device class and precision, such as `cpu-fp32`: results differ between them.
    """
    return digest(
        {
            "method": METHOD_VERSION,
            "grade": grade_identity(grade, taught=teacher_key is not None),
            "text": text_identity(chain.dataset.text),
            "dataset": dataset_fingerprint,
            "encoder": {
                **chain.encoder.model_dump(mode="json", exclude={"name", "scratch"}),
                "is": encoder_fingerprint,
            },
            "evaluation": chain.evaluation.model_dump(mode="json"),
            "teacher": teacher_key,
            "seed": chain.seed if seed is None else seed,
            "device": device,
        }
    )
