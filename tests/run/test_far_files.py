"""A stage's files on nodes that share no disk: what the leader keeps is what the next leader finds, elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from reference import tiny_chain
from store.small_s3 import SmallS3, small_s3

from pmd_ray.run.far_files import FarFiles, NodeFiles
from pmd_ray.spec.attempt import Provenance
from pmd_ray.store.store import Store
from pmd_ray.train.events import EpochDone, EpochKept, Event, StepKept
from pmd_ray.train.stage import Stage

KEY, TEACHER = "a" * 64, "b" * 64
OpenOn = Callable[[str], NodeFiles]


@pytest.fixture
def server() -> Iterator[SmallS3]:
    with small_s3() as running:
        yield running


@pytest.fixture
def on(server: SmallS3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OpenOn:
    """Opens the files on a node, whose home is its own."""
    far = FarFiles(storage=server.uri("bucket/store"), key=KEY, teacher_key=TEACHER, node="launcher")
    store = Store.open(far.storage, cache=tmp_path / "driver")
    teacher = tmp_path / "teacher"
    (teacher / "model").mkdir(parents=True)
    (teacher / "model" / "weights").write_bytes(b"teacher")
    store.publish(TEACHER, teacher, provenance=Provenance(package="0", host="here"))

    def opened(node: str) -> NodeFiles:
        monkeypatch.setenv("HOME", str(tmp_path / node))
        return far.open()

    return opened


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """As a launcher on another machine names it."""
    chain = tiny_chain.tiny(tiny_chain.written_graph(tmp_path), tmp_path / "elsewhere")
    return Stage(
        chain=chain.chain,
        grade=chain.stages[1].grade,
        key=KEY,
        out=Path("/nowhere/work/artifact"),
        teacher=Path("/nowhere/model"),
        curves=Path("/nowhere/work/tensorboard"),
    )


def kept(stage: Stage, epoch: int) -> Path:
    place = stage.work / f"epoch-{epoch:04d}"
    place.mkdir(parents=True)
    (place / "model").write_text(f"weights {epoch}")
    return place


def test_a_checkpoint_is_in_the_bucket_before_anybody_hears_of_it(on: OpenOn, server: SmallS3, stage: Stage) -> None:
    files, heard = on("one"), list[tuple[Event, bool]]()
    here = files.stage_here(stage)
    kept(here, 1)
    tell = files.saving(lambda event: heard.append((event, bool(server.names(f"bucket/store/work/{KEY}")))))
    tell(EpochDone("1", epoch=1, epochs=2, valid_mrr=0.5, best=True))
    tell(EpochKept("1", epoch=1))
    assert [saved for _, saved in heard] == [False, True]
    kept(here, 2)
    tell(StepKept("1", done=3))
    other = on("two")
    there = other.stage_here(stage)
    assert not there.work.exists()
    other.bring()
    assert {place.name for place in there.work.iterdir()} == {"epoch-0001", "epoch-0002"}
    assert (there.work / "epoch-0002" / "model").read_text() == "weights 2"


def test_each_node_has_folders_and_the_teacher_of_its_own(on: OpenOn, stage: Stage, tmp_path: Path) -> None:
    places = [on(node).stage_here(stage) for node in ("one", "two")]
    for node, place in zip(("one", "two"), places, strict=True):
        assert place.teacher is not None and (place.teacher / "weights").read_bytes() == b"teacher"
        assert place.curves is not None
        for path in (place.out, place.curves, place.teacher):
            assert tmp_path / node in path.parents
        assert (place.out.name, place.curves.name) == ("artifact", "tensorboard")


def test_the_launcher_s_node_alone_keeps_the_finished_stage(on: OpenOn, stage: Stage) -> None:
    leader = on("one")
    here = leader.stage_here(stage)
    here.out.mkdir(parents=True)
    (here.out / "result.json").write_text("done")
    leader.hand_over()
    leader.leave("another node")
    assert not here.out.exists()
    launcher = on("launcher")
    launcher.bring()
    there = launcher.stage_here(stage)
    launcher.leave("launcher")
    assert (there.out / "result.json").read_text() == "done"
