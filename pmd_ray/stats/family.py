"""A question and its comparisons: Holm over all of them, and verdicts from the adjusted p-values."""

from __future__ import annotations

from collections.abc import Sequence

from pmd_ray.stats.compare import Comparison, adjusted
from pmd_ray.stats.holm import holm


def adjust(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """The comparisons of one question, in their order, with `p_adjusted` and the verdicts that follow.

    Comparisons without a test do not count. Each p is meant for the same 1 - level, so they may mix margins and none.

    Raises:
        ValueError: Their levels differ.
    """
    if len({comparison.difference.level for comparison in comparisons}) > 1:
        raise ValueError("the comparisons of one question need one level; ask them apart")
    after = holm([comparison.p for comparison in comparisons])
    family = sum(p is not None for p in after)
    return [adjusted(comparison, p, family=max(1, family)) for comparison, p in zip(comparisons, after, strict=True)]
