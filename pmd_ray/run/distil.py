"""Walks a chain: teacher, pre-distilled grade, students, and the controls beside them."""

from __future__ import annotations

import json
import platform
from importlib.metadata import version
from pathlib import Path

from pmd_ray.run.cluster import connected, leads, refuse_too_large
from pmd_ray.run.folder import locked, write_whole
from pmd_ray.run.graphs import bring_graph
from pmd_ray.run.probe import probe_folder
from pmd_ray.run.stage import run_stage
from pmd_ray.run.storage import storage_failures_named
from pmd_ray.run.workers import WorkerPlan
from pmd_ray.spec.chain import ChainConfig
from pmd_ray.spec.chain_file import dump_chain
from pmd_ray.spec.chain_stages import device_class
from pmd_ray.spec.errors import UserError
from pmd_ray.spec.places import Places
from pmd_ray.spec.results import ChainResult
from pmd_ray.train.chain_stages import stages_of
from pmd_ray.train.estimate import planned
from pmd_ray.train.events import Listener, silent
from pmd_ray.train.stage import Stage, stored_result
from pmd_ray.train.workshop import device_of, open_workshop

RESULTS = "results.json"
PACKAGES = ("pmd-ray", "torch", "transformers", "tokenizers", "ray", "numpy")


def distil(
    chain: ChainConfig,
    out: Path,
    *,
    places: Places | None = None,
    plan: WorkerPlan | None = None,
    listen: Listener = silent,
) -> ChainResult:
    """Train every grade of a chain into `out`; grades that are there are not trained again.

    Args:
        chain: What to train.
        out: A folder for this chain: a subfolder for each grade, `chain.yaml`, `results.json`, `tensorboard/`.
        places: Cache and data folders; by default tokens are cached under `out`.
        plan: Workers of each stage; by default one, inside this process.
        listen: Told what happens.

    Raises:
        UserError: the folder holds another chain, another run is at work in it, or a node does not see it.
        PmdError: a grade failed; the grades before it are whole.
    """
    out = out.absolute()
    places = places or Places(cache=out / "cache")
    plan = plan or WorkerPlan()
    refuse_too_large(plan)
    with storage_failures_named(out):
        places = bring_graph(chain.dataset.source, places)
        shop = open_workshop(chain, places)
    device = device_of("cuda" if plan.gpu else None)
    stages = stages_of(chain, shop, out, device)
    refuse_other_chain(stages, out)
    with storage_failures_named(out), locked(out), connected(plan):
        if not plan.local:
            probe_folder(out, otherwise="give an --out that all mount, or run a study: pmd ablate --storage s3://...")
        write_whole(out / "chain.yaml", dump_chain(chain))
        if leads():
            listen(planned(stages, shop, device))
        grades = [run_stage(stage, places, plan, shop=shop, listen=listen) for stage in stages]
        result = ChainResult(
            out=str(out),
            dataset=shop.graph.name,
            dataset_fingerprint=shop.graph.fingerprint,
            encoder=chain.encoder.name,
            seed=chain.seed,
            device=device_class(chain.grades[0].optimiser, device.type),
            versions={"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
            grades=tuple(grades),
        )
        write_whole(out / RESULTS, result.model_dump_json(indent=2, by_alias=True))
    return result


def refuse_other_chain(stages: list[Stage], out: Path) -> None:
    """A finished grade of another configuration under the same name is never overwritten.

    Raises:
        UserError: naming the grades.
    """
    others = [
        stage.grade.name
        for stage in stages
        if (stage.out / "result.json").is_file() and stored_result(stage.out, stage.key) is None
    ]
    if others:
        raise UserError(
            f"{out} holds grades of another configuration ({', '.join(others)}); choose another folder with --out, "
            "or remove it"
        )


def read_results(out: Path) -> ChainResult:
    """The results of a finished chain.

    Raises:
        UserError: there are none.
    """
    path = out / RESULTS
    if not path.is_file():
        raise UserError(f"{out} holds no finished chain ({RESULTS} is missing); run pmd distill --out {out}")
    return ChainResult.model_validate(json.loads(path.read_text(encoding="utf-8")))
