"""A trained model opened with its graph: what the verbs that use one do first."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from pmd_ray.cli.quiet import quieten

if TYPE_CHECKING:
    from pmd_ray.kg.graph import Graph
    from pmd_ray.model.folder import TrainedModel
    from pmd_ray.train.evaluate import Tick


@dataclass(frozen=True)
class Opened:
    """A model, the graph it is used on, and how far its texts are encoded."""

    trained: TrainedModel
    graph: Graph
    tick: Tick
    """Draws the bar: told how many of how many texts are done."""


@contextmanager
def opened(
    context: typer.Context, model: Path, *, data: str | None, home: Path | None, storage: str | None, bar: str
) -> Iterator[Opened]:
    """Load a model and a graph; inside the `with`, a bar named `bar` shows what is encoded.

    Args:
        data: A graph's folder or name; None is the graph that the model was trained on.
        storage: Where a graph by fingerprint is kept.

    Raises:
        ModelError, UserError: there is no such model or graph, or it is broken.
    """
    quieten(context)
    from pmd_ray.cli.progress import progress
    from pmd_ray.run.graphs import bring_graph
    from pmd_ray.spec.places import Places
    from pmd_ray.train import use

    trained = use.load_model(model)
    source = trained.card.dataset_source if data is None else data
    graph = use.graph_of(trained, data, bring_graph(source, Places(data_home=home, storage=storage)))
    with progress() as tell:
        yield Opened(trained, graph, lambda done, total: tell(bar, done, total))
