"""Named starting points for a chain: functions that return a draft, the same form as a chain file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

Draft = dict[str, Any]

PAPER_LAYERS = (12, 12, 9, 6, 3)
"""Teacher, pre-distilled grade, students. Source: PMD, 4.1."""


def halving_rates(students: int) -> list[float]:
    """Mask rates of so many students: 0.2 halved grade by grade, the last 0 (PMD, 4.1: 0.2, 0.1, 0.05, 0)."""
    return [round(0.2 * 0.5**place, 6) for place in range(students - 1)] + [0.0] if students else []


def pmd_code(layers: Sequence[int] = PAPER_LAYERS) -> Draft:
    """The released code's behaviour, down to its quirks (its crashes apart): to reproduce its numbers."""
    return {
        "layers": list(layers),
        "mask": {
            "positions": "code",
            "sampling": "with_replacement",
            "count": "floor",
            "per": "occurrence",
        },
        "loss": {
            "alpha": 0.1,
            "beta": 0.1,
            "score": {"name": "scores", "space": "logits", "margin": "student", "false_negatives": "zero"},
            "feature": {
                "name": "mgfd",
                "feature": "masked_mean",
                "normalise": "l2",
                "reduction": "mean",
                "empty": "ones",
            },
        },
        "optimiser": {"decay_everything": True},
        "select": {"checkpoint": "last"},
        "evaluation": {"ties": "sorted"},
    }


def pmd_paper(layers: Sequence[int] = PAPER_LAYERS) -> Draft:
    """The equations to the letter: masked token vectors compared one by one (Eq. 2), cosines compared (Eq. 5)."""
    return {
        "layers": list(layers),
        "loss": {
            "score": {"name": "scores", "space": "cosine", "margin": "none"},
            "feature": {"name": "mgfd", "feature": "tokens", "normalise": "none", "reduction": "mean"},
        },
    }


def pmd_scaled(layers: Sequence[int] = PAPER_LAYERS) -> Draft:
    """PMD with a feature loss large enough to matter: summed over dimensions, 768 times the released code's."""
    return {
        "layers": list(layers),
        "loss": {
            "score": {"name": "scores", "space": "logits", "margin": "none", "false_negatives": "exclude"},
            "feature": {"name": "mgfd", "feature": "masked_mean", "normalise": "l2", "reduction": "sum_dims"},
        },
    }


def pmd_warm(layers: Sequence[int] = PAPER_LAYERS) -> Draft:
    """What we recommend where steps are few: students start from their teacher's layers and mostly follow its scores.

    `pmd_scaled` with `init.source: teacher` and alpha 0.5.
    """
    draft = pmd_scaled(layers)
    return {**draft, "loss": {**draft["loss"], "alpha": 0.5}, "init": {"source": "teacher"}}


def simkgc(layers: Sequence[int] = (12,)) -> Draft:
    """A teacher alone, with SimKGC's self-negatives."""
    return {"layers": list(layers), "loss": {"ce": {"self_negatives": True}}}


PRESETS: dict[str, Callable[..., Draft]] = {
    "pmd_code": pmd_code,
    "pmd_paper": pmd_paper,
    "pmd_scaled": pmd_scaled,
    "pmd_warm": pmd_warm,
    "simkgc": simkgc,
}
