"""TensorBoard's folder: curves side by side, HPARAMS filled, made anew without doubles."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from report.synthetic_study import FILE, Made, make_study
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata

from pmd_ray.report.study_report import write_report
from pmd_ray.report.tensorboard import SUMMARY_FILE, folder_name, link_or_copy
from pmd_ray.spec.results import GradeResult

pytestmark = pytest.mark.whole


@pytest.fixture(scope="module")
def board(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("board")
    write_report(made.record, made.store, out, formats=["tensorboard"])
    return out / "tensorboard"


def tree(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def plugin_data(run: Path) -> dict[str, Any]:
    events = EventAccumulator(str(run / SUMMARY_FILE)).Reload()
    contents = events.PluginTagToContent(metadata.PLUGIN_NAME)
    return {
        "experiment": metadata.parse_experiment_plugin_data(contents[metadata.EXPERIMENT_TAG]),
        "start": metadata.parse_session_start_info_plugin_data(contents[metadata.SESSION_START_INFO_TAG]),
        "end": metadata.parse_session_end_info_plugin_data(contents[metadata.SESSION_END_INFO_TAG]),
        "scalars": {tag: events.Scalars(tag)[0].value for tag in events.Tags()["scalars"]},
    }


def test_runs_lie_side_by_side_by_variant_and_seed(board: Path) -> None:
    assert sorted(path.name for path in board.iterdir()) == ["baseline", "direct", "fixed_10", "no_mgfd"]
    for seed in (0, 1, 2):
        run = board / "baseline" / f"seed-{seed}"
        assert sorted(path.name for path in run.iterdir() if path.is_dir()) == [
            "12",
            "3",
            "3-alone",
            "6",
            "6-alone",
            "teacher",
        ]
        assert (run / SUMMARY_FILE).is_file()
    assert len(tree(board)) == 3 * (6 + 6 + 6 + 3) + 4 * 3


def test_curves_are_the_artifacts_own(board: Path, made: Made) -> None:
    (linked,) = (board / "direct" / "seed-1" / "3").iterdir()
    original = made.store.fetch(made.key("direct", "3", 1)) / "tensorboard" / linked.name
    assert linked.samefile(original)
    assert EventAccumulator(str(linked)).Reload().Scalars("loss/total")[-1].step == 30


def test_hparams_hold_settings_and_metrics(board: Path, made: Made) -> None:
    told = plugin_data(board / "direct" / "seed-1")
    values = {name: value for name, value in told["start"].hparams.items()}
    assert values["variant"].string_value == "direct" and values["seed"].number_value == 1.0
    assert values["layers"].string_value == "12,3" and values["loss.beta"].number_value > 0
    infos = {
        info.name: [value.string_value or value.number_value for value in info.domain_discrete.values]
        for info in told["experiment"].hparam_infos
    }
    assert list(infos) == ["variant", "seed", "layers", "mask.rate", "loss.beta"]
    assert infos["layers"] == ["12,12,6,3", "12,3"] and infos["seed"] == [0.0, 1.0, 2.0]
    tags = ["test/mrr", "test/hits@1", "test/hits@3", "test/hits@10", "valid/mrr"]
    assert [info.name.tag for info in told["experiment"].metric_infos] == tags
    key = made.key("direct", "3", 1)
    result = GradeResult.model_validate_json(made.store.open_file(key, "result.json"))
    assert result.test is not None and result.valid is not None
    assert told["scalars"]["test/mrr"] == pytest.approx(result.test.all.mrr, rel=1e-6)
    assert told["scalars"]["valid/mrr"] == pytest.approx(result.valid.all.mrr, rel=1e-6)
    assert sorted(told["scalars"]) == sorted(tags) and told["end"].status == 1  # STATUS_SUCCESS


def test_a_second_report_leaves_no_doubles_and_takes_what_is_stale(tmp_path: Path) -> None:
    made = make_study(tmp_path, triples=9)
    write_report(made.record, made.store, tmp_path / "out", formats=["tensorboard"])
    board = tmp_path / "out" / "tensorboard"
    before = {path: (board / path).read_bytes() for path in tree(board)}
    (board / "gone" / "seed-0" / "3").mkdir(parents=True)
    (board / "gone" / "seed-0" / "3" / "events.out.tfevents.1.host.2").write_bytes(b"stale")
    (board / "direct" / "seed-0" / SUMMARY_FILE).write_bytes(b"stale")
    (board / "notes.txt").write_text("mine", encoding="utf-8")
    write_report(made.record, made.store, tmp_path / "out", formats=["tensorboard"])
    assert {path: (board / path).read_bytes() for path in tree(board)} == before | {"notes.txt": b"mine"}
    assert not (board / "gone").exists()


def test_a_chain_without_its_last_grade_failed_and_has_no_metrics(tmp_path: Path) -> None:
    made = make_study(
        tmp_path, without=lambda run, use: (run.variant, use.grade, run.seed) == ("direct", "3", 0), triples=9
    )
    write_report(made.record, made.store, tmp_path / "out", formats=["tensorboard"])
    told = plugin_data(tmp_path / "out" / "tensorboard" / "direct" / "seed-0")
    assert told["scalars"] == {} and told["end"].status == 2  # STATUS_FAILURE


def test_arms_are_runs_of_their_own(tmp_path: Path) -> None:
    made = make_study(tmp_path, file=FILE + "roles: {nuisance: {optimiser.lr: [1.0e-5, 1.0e-4]}}\n", triples=9)
    write_report(made.record, made.store, tmp_path / "out", formats=["tensorboard"])
    names = {path.name for path in (tmp_path / "out" / "tensorboard").iterdir()}
    assert {"direct,optimiser.lr=1e-05", "direct,optimiser.lr=0.0001"} < names and len(names) == 8


def test_names_of_folders() -> None:
    assert folder_name("mask=off,loss=0") == "mask=off,loss=0"
    odd, long = folder_name("x,init.source=google/bert"), folder_name("y" * 300)
    assert "/" not in odd and odd != folder_name("x,init.source=google_bert") and len(long) < 120


def test_copies_where_links_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: Path, place: Path) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    (tmp_path / "a").write_bytes(b"curve")
    link_or_copy(tmp_path / "a", tmp_path / "x" / "b")
    assert (tmp_path / "x" / "b").read_bytes() == b"curve" and not (tmp_path / "x" / "b").samefile(tmp_path / "a")
