"""What the store costs a stage: publishing, fetching, attempts, and one look at many keys.

Nothing of the kind is in the released code. The limit of publishing is hashing the same bytes once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.clock import interleaved
from benchmarks.inputs import Asked
from benchmarks.record import Case
from pmd_ray.spec.attempt import AttemptState
from pmd_ray.store.provenance import gather
from pmd_ray.store.store import Store

LARGE, SMALL = 1 << 27, 1 << 20
"""Bytes of an artifact's weights: two towers of three MiniLM layers are about as large."""
FILES = 8
LOOKS = 1000


def key(number: int) -> str:
    """A stage key."""
    return hashlib.sha256(f"benchmark {number}".encode()).hexdigest()


def cases(asked: Asked) -> Iterator[Case]:
    """One artifact of the size of a grade, then bookkeeping."""
    store = Store.open(asked.folder() / "store")
    size = SMALL if asked.small else LARGE
    weights = bytes(range(256)) * (size // 256)
    provenance = gather(dataset=("benchmark", key(0)), encoder=("benchmark", key(0)), command="benchmark", threads=1)
    made = [_artifact(asked.folder(), weights) for _ in range(asked.repeat)]
    fresh = Store.open(store.location)

    def publish(number: int) -> None:
        store.publish(key(number), made[number], provenance=provenance)

    def fetch(number: int) -> None:
        fresh.fetch(key(number))

    def attempt(number: int) -> None:
        writer = store.begin(key(number), study="benchmark")
        for epoch in range(1, 11):
            writer.update(epochs_started=epoch, epochs_finished=epoch)
        writer.end(AttemptState.DONE)

    def lease(number: int) -> None:
        for other in range(100):
            with store.lease(key(other)):
                pass

    def look(number: int) -> None:
        store.stored(key(other) for other in range(LOOKS))

    def digest(number: int) -> None:
        hashlib.sha256(weights)

    ways: dict[str, Callable[[int], None]] = {
        "publish": publish,
        "fetch": fetch,
        "an attempt of 10 epochs": attempt,
        "100 leases": lease,
        f"{LOOKS:,} keys looked up": look,
        "digest": digest,
    }
    times = interleaved(ways, asked.repeat)
    limit = times.pop("digest").seconds
    for name, found in times.items():
        if asked.wants(f"store: {name}"):
            hashed = name in ("publish", "fetch")
            yield Case(
                name=f"store: {name}",
                data=f"{size >> 20} MiB",
                batch=None,
                ours_cpu_s=found.seconds,
                limit_cpu_s=limit if hashed else None,
            )


def _artifact(folder: Path, weights: bytes) -> Path:
    """A folder with one large file and a few small ones, as a grade leaves it."""
    place = folder / "artifact"
    place.mkdir()
    (place / "model.safetensors").write_bytes(weights)
    for number in range(FILES):
        (place / f"{number}.json").write_text('{"a": 1}', encoding="utf-8")
    return place
