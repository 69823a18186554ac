"""What went wrong: attempts that failed or vanished, and artifacts that cannot be read, each with who waits for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from pmd_ray.report.evidence import Evidence, worded
from pmd_ray.report.lines import Chain
from pmd_ray.spec.attempt import AttemptState


@dataclass(frozen=True, kw_only=True)
class Failure:
    """One of them."""

    key: str
    what: str
    """Such as `failed (oom)`."""
    message: str
    seed: int = 0
    users: tuple[str, ...] = ()
    """Variant and grade of each chain that uses the stage."""
    host: str = ""
    seconds: float | None = None
    epochs: int = 0
    """Finished until then, by this attempt and those that it went on from."""
    traceback: str = ""
    mended: bool = False
    """Whether the stage is there all the same."""


def failures(chains: Sequence[Chain], evidence: Evidence) -> list[Failure]:
    """In the order of the chains, a stage's attempts in the order of time; each stage once."""
    users: dict[str, list[str]] = {}
    seeds: dict[str, int] = {}
    for chain in chains:
        for line in chain.lines:
            for seed, key in line.keys.items():
                seeds[key] = seed
                users.setdefault(key, []).append(
                    f"{chain.variant}, grade {line.grade}" + (f" ({chain.arm})" if chain.arm else "")
                )
    return [
        replace(failure, seed=seeds[key], users=tuple(users[key]))
        for key in seeds
        for failure in (*_attempts(key, evidence), *_unreadable(key, evidence))
    ]


def _attempts(key: str, evidence: Evidence) -> Iterator[Failure]:
    for attempt in evidence.attempts.get(key, ()):
        if attempt.state in (AttemptState.FAILED, AttemptState.LOST):
            yield Failure(
                key=key,
                what=worded(attempt),
                message=attempt.message or "",
                host=attempt.host,
                seconds=attempt.seconds,
                epochs=attempt.first_epoch + attempt.epochs_finished,
                traceback=attempt.traceback or "",
                mended=key in evidence.stages,
            )


def _unreadable(key: str, evidence: Evidence) -> Iterator[Failure]:
    if key in evidence.unreadable:
        yield Failure(key=key, what="artifact", message=evidence.unreadable[key])
