"""Values per seed and triple, checked before anything is computed from them."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def finite(values: ArrayLike, *, axes: int) -> Floats:
    """`values` as floats with `axes` axes, none of them empty.

    Raises:
        ValueError: Another number of axes, nothing in it, or a NaN or infinity.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != axes or not array.size:
        wanted = "[seeds, triples]" if axes == 2 else "[seeds]"
        raise ValueError(f"values must be {wanted} and not empty, got shape {array.shape}")
    if not np.isfinite(array).all():
        bad = int((~np.isfinite(array)).sum())
        raise ValueError(f"values must be finite, got {bad} of {array.size} that are not; leave out what was not run")
    return array


def paired(a_ST: ArrayLike, b_ST: ArrayLike) -> Floats:
    """The differences a - b [S, T] of two variants over the same seeds and the same triples.

    Raises:
        ValueError: Their shapes differ, or one of them is not in order.
    """
    a, b = finite(a_ST, axes=2), finite(b_ST, axes=2)
    if a.shape != b.shape:
        raise ValueError(
            f"pairs need the same seeds and triples, got shapes {a.shape} and {b.shape}; keep the seeds that both have"
        )
    return a - b


def share(value: float, name: str) -> float:
    """`value`, which must lie strictly between 0 and 1.

    Raises:
        ValueError: It does not.
    """
    if not 0.0 < value < 1.0:
        raise ValueError(f"{name} must be between 0 and 1, got {value}; 0.95 is usual for a level, 0.8 for power")
    return value
