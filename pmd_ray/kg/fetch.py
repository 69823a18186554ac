"""Fetches a dataset: verified downloads that resume, imported and written whole or not at all."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pmd_ray.kg.catalog import FETCHABLE, Dataset, Origin, fetchable_names, nearest_name
from pmd_ray.kg.download import Progress, download
from pmd_ray.kg.graph import Graph
from pmd_ray.kg.imports import import_graph
from pmd_ray.kg.write import write_graph
from pmd_ray.spec.errors import StorageError, UserError

GITHUB = "https://raw.githubusercontent.com"
DOWNLOADS = ".downloads"
"""Folder in the data home for what is on its way; a dataset's part goes when the dataset is there."""


def fetch(
    dataset: str | Dataset,
    *,
    home: Path,
    base_url: str = GITHUB,
    progress: Progress | None = None,
    pause: float = 1.0,
) -> Path:
    """Download, verify, import and write a dataset to `home/NAME`; return that folder, at once if it is there.

    `progress(file, done, total)` is told bytes as they come (`total` None where the server does not say). `pause` is
    the first wait between tries, in seconds; it doubles. Raises UserError where the network or the server fails for
    good, with what came so far kept for the next call, and StorageError where the disk does.
    """
    wanted = _find(dataset) if isinstance(dataset, str) else dataset
    if wanted.origin is None:
        raise UserError(f"'{wanted.name}' is bundled and needs no fetching; use its name as it is")
    folder = home / wanted.name
    with _alone(home, wanted.name) as staging:
        if (folder / "entities.tsv").is_file():
            return folder
        for path, blob in wanted.origin.files.items():
            url = "/".join((base_url.rstrip("/"), _address(wanted.origin), path))
            download(url, staging / path, blob=blob, progress=progress, pause=pause)
        graph = import_graph(wanted.origin.layout, staging, name=wanted.name)
        _check_size(wanted, graph)
        write_graph(graph, folder, _source_note(wanted, wanted.origin))
        shutil.rmtree(staging, ignore_errors=True)
    return folder


def _find(name: str) -> Dataset:
    for dataset in FETCHABLE:
        if dataset.name == name:
            return dataset
    hint = nearest_name(name, fetchable_names())
    raise UserError(f"no dataset '{name}' to fetch{hint} (datasets: {', '.join(fetchable_names())})")


def _address(origin: Origin) -> str:
    return "/".join((origin.repository, origin.commit, origin.folder))


@contextmanager
def _alone(home: Path, name: str) -> Iterator[Path]:
    """Give the staging folder to one process at a time: two would write into the same partial files."""
    staging = home / DOWNLOADS / name
    try:
        staging.mkdir(parents=True, exist_ok=True)
        lock = (home / DOWNLOADS / f"{name}.lock").open("w")
    except OSError as error:
        raise StorageError(f"{home} cannot hold datasets: {error.strerror}; choose another data folder") from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        staging.mkdir(parents=True, exist_ok=True)  # the process before us may have finished and removed it
        yield staging


def _check_size(dataset: Dataset, graph: Graph) -> None:
    """Blob ids pin the bytes; this pins what our importer makes of them."""
    found = (graph.num_entities, graph.num_relations, len(graph.train), len(graph.valid), len(graph.test))
    wanted = (dataset.entities, dataset.relations, dataset.train, dataset.valid, dataset.test)
    if found != wanted:
        raise UserError(f"{dataset.name}: imported sizes {found} are not the published {wanted}; nothing was written")


def _source_note(dataset: Dataset, origin: Origin) -> str:
    files = "\n".join(f"- `{path}` (blob {blob})" for path, blob in origin.files.items())
    place = f"github:{origin.repository} @ {origin.commit}, `{origin.folder}/`"
    parts = (
        f"# {dataset.name}",
        f"{dataset.about}.",
        "## Files used",
        f"{place}, imported as layout `{origin.layout}` by `pmd data fetch`:",
        files,
        "## Licence",
        f"{dataset.licence}.",
    )
    return "\n\n".join(parts)
