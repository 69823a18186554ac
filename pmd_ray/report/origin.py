"""Where a study's figures come from: code, machines, data, commands, as the artifacts' own provenance tells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from pmd_ray.report.evidence import Evidence
from pmd_ray.spec.attempt import Provenance


@dataclass(frozen=True, kw_only=True)
class Told:
    """One thing that provenance tells, and of how many stages."""

    value: str
    stages: int


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Everything, most frequent first. More than one value each is worth a look: the stages were not made alike."""

    commits: tuple[Told, ...]
    machines: tuple[Told, ...]
    versions: tuple[Told, ...]
    commands: tuple[Told, ...]
    datasets: tuple[Told, ...]
    encoders: tuple[Told, ...]


def origin(evidence: Evidence) -> Origin:
    """Gather it from every artifact that is there."""
    known = [stage.provenance for stage in evidence.stages.values()]
    return Origin(
        commits=_counted(map(commit_text, known)),
        machines=_counted(map(machine_text, known)),
        versions=_counted(map(versions_text, known)),
        commands=_counted(p.command or "" for p in known),
        datasets=_counted(_named(p.dataset, p.dataset_fingerprint) for p in known),
        encoders=_counted(_named(p.encoder, p.encoder_fingerprint) for p in known),
    )


def commit_text(found: Provenance) -> str:
    """`0a1b2c3d4e5f, changed since` or `pmd_ray 0.2.0, installed`."""
    if found.commit is None:
        return f"pmd_ray {found.package}, not from a checkout"
    state = {True: ", changed since (dirty)", False: "", None: ""}[found.dirty]
    return f"{found.commit[:12]}{state}, pmd_ray {found.package}"


def machine_text(found: Provenance) -> str:
    """`node7: 2 cores of Xeon, H200`; the threads of one stage where known."""
    parts = [f"{found.cores} cores" if found.cores else "", found.cpu or "", ", ".join(found.gpus)]
    threads = f"{found.threads} thread{'s' * (found.threads > 1)} a stage" if found.threads else ""
    told = ", ".join(part for part in [*parts, threads] if part)
    return ": ".join(part for part in (found.host or "", told) if part)


def versions_text(found: Provenance) -> str:
    """`Python 3.11.4, torch 2.6.0`."""
    versions = [f"{name} {version}" for name, version in sorted(found.versions.items())]
    return ", ".join([*([f"Python {found.python}"] if found.python else []), *versions])


def _named(name: str | None, fingerprint: str | None) -> str:
    return " ".join(part for part in (name, fingerprint[:16] if fingerprint else None) if part)


def _counted(values: Iterable[str]) -> tuple[Told, ...]:
    counts = Counter(value for value in values if value)
    return tuple(Told(value=value, stages=stages) for value, stages in counts.most_common())
