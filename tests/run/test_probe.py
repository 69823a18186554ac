"""Before anything is trained: nodes that do not see the storage are named."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from reference.tiny import write_graph
from store.small_s3 import SmallS3, small_s3

from pmd_ray.run import probe
from pmd_ray.run.distil import distil
from pmd_ray.run.probe import looked, looked_into_bucket, probe_storage
from pmd_ray.run.stage_call import _open_store
from pmd_ray.run.workers import WorkerPlan
from pmd_ray.spec.chain_file import load_chain
from pmd_ray.spec.errors import UserError
from pmd_ray.store.store import Store


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr(probe, "LATE_S", 0.0)
    return Store.open(tmp_path / "store")


def test_a_node_says_what_it_sees(store: Store, tmp_path: Path) -> None:
    root = store.local
    assert root is not None
    (root / ".probe-1").write_text("answer", encoding="utf-8")
    before = sorted(root.iterdir())
    assert looked(str(root), ".probe-1", "answer") == ""
    assert sorted(root.iterdir()) == before
    assert looked(str(root), ".probe-1", "other") == "another folder lies there"
    assert looked(str(root), ".probe-2", "answer") == "not there"
    assert looked(str(tmp_path / "nowhere"), ".probe-1", "answer") == "not there"
    assert looked(str(root / ".probe-1"), "x", "answer") == "Not a directory"


def test_one_machine_is_not_asked(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(probe, "_question", pytest.fail)
    probe_storage(store)


def test_a_worker_makes_no_store_where_it_sees_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no store"):
        _open_store(str(tmp_path / "not mounted"))
    assert not (tmp_path / "not mounted").exists()


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[SmallS3]:
    monkeypatch.setenv("RAY_ADDRESS", "this one")
    with small_s3() as server:
        yield server


def refusing(server: SmallS3, method: str) -> None:
    """Let a bucket refuse nodes one method: the names of what they write are longer than the driver's."""
    server.refuse = lambda asked, name: 403 if asked == method and name.count("-") > 1 else None


def test_a_node_says_what_a_bucket_lets_it_do(bucket: SmallS3) -> None:
    store = Store.open(bucket.uri("bucket/store"))
    store.medium.write(".probe-1", b"answer")
    before = bucket.names()
    assert looked_into_bucket(store.location, ".probe-1", "answer") == ""
    assert bucket.names() == before
    assert looked_into_bucket(store.location, ".probe-1", "other") == "another bucket lies there"
    assert looked_into_bucket(store.location, ".probe-2", "answer") == "not there"
    assert "holds no store" in looked_into_bucket(bucket.uri("elsewhere/store"), ".probe-1", "answer")


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_a_node_that_may_only_read_says_so(bucket: SmallS3, method: str) -> None:
    store = Store.open(bucket.uri("bucket/store"))
    store.medium.write(".probe-1", b"answer")
    refusing(bucket, method)
    said = looked_into_bucket(store.location, ".probe-1", "answer")
    assert "check the credentials and what they may do" in said and "secret" not in said


@pytest.mark.parametrize("problem", ["", "not there"])
def test_a_bucket_is_probed_before_anything_trains(
    bucket: SmallS3, monkeypatch: pytest.MonkeyPatch, problem: str
) -> None:
    store = Store.open(bucket.uri("bucket/store"))
    before = bucket.names()
    asked: list[str] = []

    def on_two_nodes(look: Callable[[str, str, str], str], *given: str) -> list[str]:
        said = look(*given)
        asked.append(said)
        return [f"h2 ({problem})"] if problem else []

    monkeypatch.setattr(probe, "_asked", on_two_nodes)
    if problem:
        with pytest.raises(UserError, match=r"s3://bucket/store does not serve all nodes: h2 \(not there\); give each"):
            probe_storage(store)
    else:
        probe_storage(store)
    assert asked == [""]
    assert bucket.names() == before
    monkeypatch.delenv("RAY_ADDRESS")
    probe_storage(store)
    assert len(asked) == 1


@pytest.mark.ray
def test_a_bucket_that_nodes_may_not_write_to(ray_running: None, bucket: SmallS3) -> None:
    store = Store.open(bucket.uri("bucket/store"))
    before = bucket.names()
    probe_storage(store)
    refusing(bucket, "PUT")
    with pytest.raises(UserError, match=r"does not serve all nodes: \S+ \(.*check the credentials"):
        probe_storage(store)
    assert bucket.names() == before


@pytest.mark.ray
@pytest.mark.parametrize("problem", ["", "not there"])
def test_the_nodes_that_do_not_see_it_are_named(
    ray_running: None, store: Store, monkeypatch: pytest.MonkeyPatch, problem: str
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "this one")
    assert store.local is not None
    before = sorted(store.local.iterdir())
    if not problem:
        probe_storage(store)
    else:
        monkeypatch.setattr(probe, "looked", _saying(problem))
        with pytest.raises(UserError, match=r"is not one place for all nodes: \S+ \(not there\); mount it there, or"):
            probe_storage(store)
    assert sorted(store.local.iterdir()) == before


@pytest.mark.ray
def test_a_chain_asks_before_a_group_trains(ray_running: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "this one")
    monkeypatch.setattr(probe, "looked", _saying("not there"))
    chain = load_chain(
        "demo",
        [f"dataset={write_graph(tmp_path / 'graph')}", "encoder.name=scratch", "layers=[2, 1]", "mask_rates=[0.0]"],
    )
    with pytest.raises(
        UserError, match=r"run is not one place for all nodes: \S+ \(not there\); .* give an --out that"
    ):
        distil(chain, tmp_path / "run", plan=WorkerPlan(2, 2, cpus=1.0))
    assert not (tmp_path / "run" / "chain.yaml").exists()


def _saying(text: str) -> Callable[[str, str, str], str]:
    """A node on which the look ends so."""
    return lambda root, name, answer: text
