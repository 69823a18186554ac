"""The same from Python: `from pmd_ray import load_graph, distil, evaluate, load_model, predict`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pmd_ray.kg.graph import Graph, Split
from pmd_ray.kg.load import load_graph
from pmd_ray.model.folder import TrainedModel
from pmd_ray.run import distil as chain_run
from pmd_ray.run.workers import WorkerPlan
from pmd_ray.spec.chain import ChainConfig
from pmd_ray.spec.chain_file import load_chain
from pmd_ray.spec.evaluation import EvaluationConfig
from pmd_ray.spec.places import Places
from pmd_ray.spec.results import ChainResult, RankingReport
from pmd_ray.train import use
from pmd_ray.train.events import Listener, silent
from pmd_ray.train.use import Answer, load_model

__all__ = ["Answer", "distil", "evaluate", "load_chain", "load_graph", "load_model", "predict"]


def distil(
    chain: ChainConfig | str | Path,
    out: str | Path,
    *,
    overrides: Sequence[str] = (),
    workers: str = "1",
    listen: Listener = silent,
) -> ChainResult:
    """Train a teacher and its students; grades that are in `out` already are not trained again.

    Args:
        chain: A configuration, a chain file, a shipped chain's name (`demo`) or a preset's (`pmd_code`).
        out: A folder for this chain.
        overrides: As on the command line, such as `["optimiser.epochs=3", "grades.6.mask.rate=0.1"]`.
        workers: `1` trains in this process; `4` or `2:8` (elastic) in a Ray Train worker group.
        listen: Told what happens (`pmd_ray.train.events`).

    Raises:
        UserError: chain, graph or encoder are wrong, or `out` holds another chain.
        PmdError: a grade failed; those before it are whole.
    """
    config = chain if isinstance(chain, ChainConfig) else load_chain(str(chain), overrides)
    return chain_run.distil(config, Path(out), plan=WorkerPlan.parse(workers), listen=listen)


def evaluate(
    model: TrainedModel | str | Path,
    data: Graph | str | Path | None = None,
    *,
    split: Split = "test",
    evaluation: EvaluationConfig | None = None,
) -> RankingReport:
    """Filtered ranking metrics of a model, both directions.

    Args:
        model: From `load_model`, or its folder.
        data: A graph, its folder or name; by default the one that the model was trained on.
        split: Which split to rank; filtering always uses all three.
        evaluation: Ties, re-ranking.
    """
    trained, graph = _ready(model, data)
    return use.evaluate(trained, graph, split, evaluation=evaluation).report(graph)


def predict(
    model: TrainedModel | str | Path,
    head: str,
    relation: str,
    *,
    data: Graph | str | Path | None = None,
    top: int = 10,
    inverse: bool = False,
    text: bool = False,
) -> list[Answer]:
    """The best answers of (head, relation, ?), best first.

    Args:
        head: An entity's id or name; with `text`, the text (`name: description`) of one outside the graph.
        relation: A relation's id or text; `inverse ...` or `inverse=True` asks for its inverse.
    """
    trained, graph = _ready(model, data)
    return use.predict(trained, graph, head, relation, top=top, inverse=inverse, text=text)


def _ready(model: TrainedModel | str | Path, data: Graph | str | Path | None) -> tuple[TrainedModel, Graph]:
    trained = model if isinstance(model, TrainedModel) else load_model(model)
    return trained, data if isinstance(data, Graph) else use.graph_of(trained, data, Places())
