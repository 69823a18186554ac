"""Named random streams: what is drawn depends on the seed, the purpose and a counter, never on rank, order or resume.

Draws by counter use SplitMix64 (Steele, Lea and Flood 2014): the n-th number of a stream is a hash of its key and n, so
that any worker can compute its own share of them.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

UInts = NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX2 = np.uint64(0x94D049BB133111EB)


def stream_key(seed: int, *names: str | int) -> int:
    """A 64-bit key for (seed, purpose, ...): equal names give equal keys on every machine."""
    text = "\x1f".join(str(name) for name in (seed, *names))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def generator(seed: int, *names: str | int) -> np.random.Generator:
    """A NumPy generator of that stream."""
    return np.random.Generator(np.random.PCG64(stream_key(seed, *names)))


def mix(values: UInts) -> UInts:
    """SplitMix64's finaliser: a bijection of 64-bit numbers that scatters neighbours."""
    with np.errstate(over="ignore"):
        values = values + _GOLDEN
        values = (values ^ (values >> np.uint64(30))) * _MIX1
        values = (values ^ (values >> np.uint64(27))) * _MIX2
        return values ^ (values >> np.uint64(31))


def row_keys(key: int, counters: NDArray[np.integer]) -> UInts:
    """One key for each counter [N] of a stream."""
    return mix(counters.astype(np.uint64) ^ mix(np.asarray(key, dtype=np.uint64)))


def uniforms(keys: UInts, counters: NDArray[np.integer]) -> NDArray[np.float64]:
    """Numbers in [0, 1), one for each pair of key and counter (broadcast together), of 53 bits each."""
    bits = mix(keys ^ mix(counters.astype(np.uint64) + _GOLDEN))
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53
