"""1 worker x 64 and 2 workers x 32 compute the same losses, gradients and weights; so do 3 with an uneven split."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
import torch.distributed as dist
from reference import tiny_chain
from torch import Tensor, nn
from torch.nn.functional import normalize

from pmd_ray.spec.errors import StorageError
from pmd_ray.spec.evaluation import EvaluationConfig, RerankConfig
from pmd_ray.spec.results import GradeResult
from pmd_ray.train import evaluate
from pmd_ray.train.events import Event, GradeStarted, silent
from pmd_ray.train.stage import Stage, _Training, train_stage
from pmd_ray.train.workers import Workers
from pmd_ray.train.workshop import Workshop

pytestmark = pytest.mark.whole

BATCH = 64
PATIENT: dict[str, Any] = {"loss__combination": "additive", "loss__beta": 100.0}
CASES: dict[str, dict[str, Any]] = {
    "label loss with self-negatives": {"preset": "simkgc", "layers": (2,)},
    "masked means": {"preset": "pmd_scaled"},
    "tokens": {"preset": "pmd_paper", "mask_rates": [0.05]},
    "released code": {"preset": "pmd_code", "loss__ce__self_negatives": True},
    "clean scores": {"preset": "pmd_scaled", "mask__for_score": "clean", "mask__teacher_input": "clean"},
    "projector and learnt weights": {"loss__combination": "adaptive", "loss__feature__projector": "linear"},
    "earlier tails": {"preset": "simkgc", "layers": (2,), "loss__ce__pre_batch": 2},
    "gradient caching": {"preset": "pmd_scaled", "optimiser__micro_batch": 11},
    "one shared tower": {"preset": "pmd_scaled", "encoder__towers": "shared"},
    "patient states": {"mask_rates": [0.0], "loss__score": "lkd", **PATIENT, "loss__feature": "pkd"},
    "patient means": {**PATIENT, "loss__feature": {"name": "pkd", "state": "mean"}},
}
SETTINGS: dict[str, Any] = {
    "encoder__dropout": 0.1,  # drawn text by text: not even that depends on the number of workers
    "optimiser__batch": BATCH,
    "optimiser__epochs": 2,
    "dataset__text__max_tokens": 20,
}


def three_steps(case: dict[str, Any], folder: Path, workers: Workers) -> dict[str, Any]:
    """Losses of three updates, the gradients of the first, the weights after the last."""
    source, teacher_out = folder / "tiny", folder / "teachers" / case.get("encoder__towers", "separate")
    chain = tiny_chain.tiny(source, teacher_out, **{**SETTINGS, **case})
    training = _Training(chain.stages[-1], chain.shop, workers, silent)
    if training.teacher is not None and training.teacher.is_constant():
        training.teacher.tabulate(training.batches, workers, lambda done, total: None)
    found: dict[str, Any] = {"losses": [], "parts": [], "norms": [], "counts": [], "asked": []}
    for done in range(3):
        epoch, step = divmod(done, training.batches.steps_per_epoch)
        batch = training.batches.make(epoch, step)
        with mock.patch.object(Workers, "counts", autospec=True, side_effect=Workers.counts) as counts:
            log = training.step.run(batch, epoch=epoch, step=step, done=done, detailed=False)
        found["asked"].append(counts.call_count)
        found["losses"].append(log.loss)
        found["parts"].append(log.parts)
        found["norms"].append(log.gradient)
        found["counts"].append((log.tokens, log.texts, log.unmasked_texts))
        if done == 0:
            found["gradients"] = _named(training, lambda weight: weight.grad)
    found["weights"] = _named(training, lambda weight: weight.detach())
    found["shares"] = len(batch.queries)
    return found


def _named(training: _Training, value: Callable[[nn.Parameter], Tensor | None]) -> dict[str, Tensor]:
    weights = [*training.model.named_parameters(), *training.objective.named_parameters()]
    return {name: found.clone() for name, weight in weights if (found := value(weight)) is not None}


def joined(rank: int, size: int, folder: Path) -> None:
    """The body of one worker: all cases, then a disk that refuses."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder / f'store-{size}'}", rank=rank, world_size=size)
    workers = Workers.current(tiny_chain.CPU)
    assert (workers.rank, workers.size) == (rank, size)
    cases = CASES if size == 2 else {"masked means": CASES["masked means"]}
    found = {name: three_steps(case, folder, workers) for name, case in cases.items()}
    torch.save(found, folder / f"found-{size}-{rank}.pt")
    torch.save(ranked(folder, workers), folder / f"ranked-{size}-{rank}.pt")
    if size == 2:
        (folder / f"refused-{rank}").write_text(_refused(folder, workers))
        (folder / f"apart-{rank}.json").write_text(_apart(folder, workers))
    data = bytes(range(256))
    assert workers.shared(data if workers.leads else b"other") == data and workers.shared(b"") == b""
    sent = folder / "sent"
    with workers.file(sent if workers.leads else folder / "nobody's") as path:
        assert path.read_bytes() == sent.read_bytes() and (path == sent) == workers.leads
    assert path.exists() == workers.leads
    assert workers.votes([rank == size - 1, False]) == [True, False]
    dist.destroy_process_group()


def ranked(folder: Path, workers: Workers) -> dict[str, Tensor]:
    """What `rank_split` makes of the same vectors on any number of workers."""
    chain = tiny_chain.tiny(folder / "tiny", folder / "teachers" / "separate", **SETTINGS)
    training = _Training(chain.stages[-1], chain.shop, workers, silent)

    def vectors(model: Any, tower: str, rows_of: Any, count: int, **others: Any) -> Tensor:
        luck = torch.Generator().manual_seed(count + len(tower))
        return normalize(torch.randn(count, 4, generator=luck), dim=1)

    evaluation = EvaluationConfig(rerank=RerankConfig(hops=1, weight=0.3))
    with mock.patch.object(evaluate, "encode_all", vectors):
        split = evaluate.rank_split(
            training.model, chain.shop.texts, "train", evaluation=evaluation, workers=workers, sample=50
        )
    assert split.reranked is not None
    return {
        f"{name} {field.name}": torch.as_tensor(getattr(ranks, field.name))
        for name, ranks in (("plain", split.plain), ("reranked", split.reranked))
        for field in dataclasses.fields(ranks)
    }


def _refused(folder: Path, workers: Workers) -> str:
    """What a worker says where the leader cannot write."""
    chain = tiny_chain.tiny(folder / "tiny", folder / "teachers" / "separate", **SETTINGS)
    (folder / "a file").touch()
    stage = dataclasses.replace(chain.stages[1], out=folder / "a file" / "grade", curves=None)
    try:
        train_stage(stage, chain.shop, workers=workers)
    except StorageError as error:
        return str(error)
    return "nothing"


def _apart(folder: Path, workers: Workers) -> str:
    """The result where each worker has a disk of its own, and all stop within the second epoch and go on."""
    stage, shop = stage_apart(folder, f"disk-{workers.rank}")
    calls, started = 0, list[int]()

    def leaving() -> bool:
        """The last worker's machine is about to go after step 3; after step 4 all are gone."""
        nonlocal calls
        calls += 1
        if calls == 4:
            raise KeyboardInterrupt
        return calls == 3 and not workers.leads

    def listen(event: Event) -> None:
        if isinstance(event, GradeStarted):
            started.append(event.done)

    with pytest.raises(KeyboardInterrupt):
        train_stage(stage, shop, workers=workers, listen=listen, leaving=leaving)
    result = train_stage(stage, shop, workers=workers, listen=listen)
    assert started == ([0, 3] if workers.leads else [])
    assert train_stage(stage, shop, workers=workers) == result
    assert stage.out.is_dir() == workers.leads and not stage.work.exists()
    return result.model_dump_json(by_alias=True)


def stage_apart(folder: Path, disk: str) -> tuple[Stage, Workshop]:
    """A student of two steps an epoch, on a disk."""
    chain = tiny_chain.tiny(folder / "tiny", folder / "teachers" / "separate", **SETTINGS)
    return dataclasses.replace(chain.stages[1], out=folder / disk / "grade", curves=None), chain.shop


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The graph, a teacher of separate and one of shared towers."""
    folder = tmp_path_factory.mktemp("workers")
    source = tiny_chain.written_graph(folder)
    for towers in ("separate", "shared"):
        tiny_chain.tiny(source, folder / "teachers" / towers, **SETTINGS, encoder__towers=towers).train(0)
    return folder


@pytest.fixture(scope="module")
def found(folder: Path) -> dict[int, list[dict[str, Any]]]:
    """By the number of workers, what each of them found."""
    (folder / "sent").write_bytes(bytes(range(256)) * 300_000)  # more than one piece
    processes = [tiny_chain.start(joined, rank, size, folder) for size in (2, 3) for rank in range(size)]
    alone = {name: three_steps(case, folder, tiny_chain.ALONE) for name, case in CASES.items()}
    for process in processes:
        process.join(tiny_chain.PATIENCE)
        assert process.exitcode == 0
    several = {
        size: [torch.load(folder / f"found-{size}-{rank}.pt", weights_only=True) for rank in range(size)]
        for size in (2, 3)
    }
    return {1: [alone], **several}


def assert_close(one: dict[str, Tensor], other: dict[str, Tensor], *, share: float) -> None:
    """Each tensor within a share of its own length, or, where rounding is all there is, of the length of them all.

    A key's bias adds the same to all of a query's attention scores: its gradient is zero but for rounding.
    """
    assert one.keys() == other.keys()
    whole = torch.stack([tensor.norm() for tensor in one.values()]).norm()
    for name, tensor in one.items():
        gap = (tensor - other[name]).norm()
        assert gap <= share * torch.maximum(tensor.norm(), 0.01 * whole), name


@pytest.mark.parametrize(("size", "case"), [*((2, case) for case in CASES), (3, "masked means")])
def test_workers_compute_what_one_computes(found: dict[int, list[dict[str, Any]]], size: int, case: str) -> None:
    alone = found[1][0][case]
    for worker in found[size]:
        mine = worker[case]
        assert mine["losses"] == pytest.approx(alone["losses"], rel=1e-5)
        assert mine["norms"] == pytest.approx(alone["norms"], rel=1e-4)
        for one, other in zip(mine["parts"], alone["parts"], strict=True):
            assert one == pytest.approx(other, rel=1e-4, abs=1e-7)
        assert_close(alone["gradients"], mine["gradients"], share=1e-5)
        assert_close(alone["weights"], mine["weights"], share=1e-3)


@pytest.mark.parametrize("size", [2, 3])
def test_all_workers_hold_equal_weights(found: dict[int, list[dict[str, Any]]], size: int) -> None:
    for case, first in found[size][0].items():
        for worker in found[size][1:]:
            for name, weight in first["weights"].items():
                assert torch.equal(weight, worker[case]["weights"][name]), (case, name)


@pytest.mark.parametrize("size", [2, 3])
def test_each_worker_ranks_a_part_and_has_all(found: dict[int, list[dict[str, Any]]], folder: Path, size: int) -> None:
    """To the last bit: ranks, scores and lists depend on the vectors alone."""
    alone = ranked(folder, tiny_chain.ALONE)
    assert len(alone["plain ranks"]) == 100 and not torch.equal(alone["plain ranks"], alone["reranked ranks"])
    for rank in range(size):
        several = torch.load(folder / f"ranked-{size}-{rank}.pt", weights_only=True)
        assert several.keys() == alone.keys()
        for name, column in alone.items():
            torch.testing.assert_close(several[name], column, rtol=0, atol=0, equal_nan=True)


def test_what_hosts_tell_each_other_lies_on_no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the host would wait for all that its GPU was given: each step asks for lengths, and for who must leave."""
    seen: list[str] = []
    monkeypatch.setattr(dist, "all_gather", lambda every, mine: seen.extend(t.device.type for t in (*every, mine)))
    monkeypatch.setattr(dist, "all_reduce", lambda values: seen.append(values.device.type))
    workers = Workers(0, 2, torch.device("meta"))
    workers.counts(3, 4)
    workers.votes([True])
    assert set(seen) == {"cpu"} and len(seen) == 4


def test_workers_ask_each_other_for_lengths_once_a_step(found: dict[int, list[dict[str, Any]]]) -> None:
    """One waits for the other each time."""
    assert {case["asked"] == [1, 1, 1] for size in (2, 3) for worker in found[size] for case in worker.values()} == {
        True
    }


def test_shares_are_even_or_nearly(found: dict[int, list[dict[str, Any]]]) -> None:
    assert [worker["masked means"]["shares"] for worker in found[2]] == [32, 32]
    assert sorted(worker["masked means"]["shares"] for worker in found[3]) == [21, 21, 22]


def test_sequences_are_counted_over_all_workers(found: dict[int, list[dict[str, Any]]]) -> None:
    """Factor mask.min_tokens: queries and tails, twice the batch; heads are in no feature loss (C10)."""
    for case in ("masked means", "released code"):
        for size in (1, 2):
            assert all(texts == 2 * BATCH for _, texts, _ in found[size][0][case]["counts"])
    for size in (2, 3):
        for case in found[size][0].keys() & {"tokens", "masked means"}:
            counts, alone = (found[n][0][case]["counts"] for n in (size, 1))
            assert [count[2] for count in counts] == [count[2] for count in alone]
    assert all(0 < empty < texts for _, texts, empty in found[1][0]["tokens"]["counts"])


def test_where_the_leader_cannot_write_all_workers_stop(found: dict[int, list[dict[str, Any]]], folder: Path) -> None:
    """The others would else wait for it until the process group's own timeout, half an hour."""
    said = [(folder / f"refused-{rank}").read_text() for rank in range(2)]
    assert said[0] == said[1]
    assert "could not be written: Not a directory" in said[0]


def test_workers_without_a_common_disk_go_on_together(found: dict[int, list[dict[str, Any]]], folder: Path) -> None:
    """The leader alone has checkpoints, the last of them within an epoch; it ends as with one worker."""
    results = [GradeResult.model_validate_json((folder / f"apart-{rank}.json").read_text()) for rank in range(2)]
    assert results[0] == results[1]
    stage, shop = stage_apart(folder, "alone")
    alone = train_stage(stage, shop, workers=tiny_chain.ALONE)
    assert results[0].steps == alone.steps == 4 and results[0].best_epoch == alone.best_epoch
    assert results[0].test is not None and alone.test is not None
    assert results[0].test.all.mrr == pytest.approx(alone.test.all.mrr, abs=1e-6)
