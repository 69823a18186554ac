"""What a table over so many seeds can and cannot support, in plain words."""

from __future__ import annotations

from pmd_ray.stats.sign_flip import smallest_sign_flip_p
from pmd_ray.stats.student import upper_quantile
from pmd_ray.stats.words import Alternative


def caption(seeds: int, level: float = 0.95) -> str:
    """Sentences to stand under a table of `seeds` paired seeds.

    Raises:
        ValueError: No seed, or a level out of range.
    """
    if seeds < 1 or not 0.0 < level < 1.0:
        raise ValueError(f"a caption needs a seed and a level in (0, 1), got {seeds} and {level}")
    return " ".join([*_intervals(seeds, level), *_tests(seeds, level)])


def _intervals(seeds: int, level: float) -> list[str]:
    percent = f"{100 * level:g} %"
    if seeds == 1:
        return [
            "1 seed, no test.",
            f"The {percent} intervals say how far the figures could move on other test triples with these very models; "
            "how far they would move with another seed is unknown.",
        ]
    t = upper_quantile((1 - level) / 2, seeds - 1)
    said = [
        f"{seeds} paired seeds. The {percent} intervals are meant for other seeds and other test triples; they take "
        "the seeds' effects as roughly normal, which so few seeds cannot check."
    ]
    if seeds <= 5:
        said.append(
            f"The spread over {seeds} seeds is itself hardly known, so intervals are up to {t:.1f} standard errors "
            "wide to each side: a wide interval is the price of few seeds, not a sign that the method is unstable."
        )
    if seeds == 2:
        said.append("With 2 seeds that makes most of them too wide to decide anything.")
    return said


def _tests(seeds: int, level: float) -> list[str]:
    if seeds == 1:
        return []
    two, one = (smallest_sign_flip_p(seeds, side) for side in (Alternative.TWO_SIDED, Alternative.GREATER))
    limit = 1 - level + 1e-12
    said = [
        f"p is the larger of an exact sign-flip test over seeds and the interval's; with {seeds} seeds it cannot go "
        f"below {two:.3g} two-sided or {one:.3g} one-sided."
    ]
    if one > limit:
        said.append(
            f"So no difference can be shown at {1 - level:.2g}, however large: intervals and seeds are to be read."
        )
    elif two > limit:
        said.append(f"So at {1 - level:.2g} only a side that was named beforehand can be shown.")
    else:
        said.append("A Holm-adjusted p cannot go below that times the number of comparisons.")
    said.append("Non-inferiority is judged by the interval alone. No difference shown does not mean no difference.")
    return said
