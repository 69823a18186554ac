"""TensorBoard runs of a whole study: what the report computed, laid out with the artifacts' own curves."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pmd_ray.report.contents import Contents
from pmd_ray.report.measures import METRICS
from pmd_ray.report.settings import differing
from pmd_ray.report.tensorboard import board_runs, lay_out
from pmd_ray.store.layout import ARTIFACTS

if TYPE_CHECKING:
    from pmd_ray.store.store import Store


def lay_out_runs(found: Contents, store: Store, out: Path) -> list[Path]:
    """Write every chain's runs, arms that were not chosen too; the files.

    Raises:
        ArtifactBroken: Event files are not as they were published.
        StorageError: The storage does not answer, or the disk refuses.
    """
    chains = [arm.chain for arm in found.arms]
    runs = board_runs(
        chains,
        settings=differing(found.record.study),
        metrics={key: _metrics(found, key) for chain in chains for key in chain.last.keys.values()},
        there=found.evidence.stages,
    )

    def events(key: str) -> Iterator[tuple[str, Path | bytes]]:
        for name in found.evidence.stages[key].events:
            local = store.local / ARTIFACTS / key / name if store.local else None
            yield name.rpartition("/")[2], local or store.open_file(key, name)

    created = datetime.fromisoformat(found.record.created).timestamp()
    return lay_out(out, runs, events, created=created)


def _metrics(found: Contents, key: str) -> dict[str, float]:
    """Test metrics and validation MRR of a chain's last grade; nothing where it is missing."""
    if key not in found.evidence.stages:
        return {}
    test = {f"test/{name}": float(found.numbers.values(key, name).mean()) for name in METRICS if name != "mr"}
    valid = found.evidence.valid_mrr(key)
    return test if valid is None else {**test, "valid/mrr": valid}
