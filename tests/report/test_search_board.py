"""TensorBoard of a search: each trial's curve, and HPARAMS with every metric."""

from __future__ import annotations

from pathlib import Path

import pytest
from report.search_made import EPOCHS, make_record
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata

from pmd_ray.report.search_board import BY_EPOCH, BY_GRADE, SCALARS_FILE, lay_out_trials
from pmd_ray.report.tensorboard import SUMMARY_FILE

RECORD = make_record(trials=6)


def test_curves_by_epoch_and_by_grade(tmp_path: Path) -> None:
    lay_out_trials(RECORD, tmp_path)
    assert sorted(path.name for path in (tmp_path / "trials").iterdir())[:3] == [
        "0000-sampled",
        "0001-default",
        "0002-paper",
    ]
    events = EventAccumulator(str(tmp_path / "trials" / "0001-default" / SCALARS_FILE)).Reload()
    curve, grades = events.Scalars(BY_EPOCH), events.Scalars(BY_GRADE)
    assert [one.step for one in curve] == list(range(1, 3 * EPOCHS + 1)) and [one.step for one in grades] == [1, 2, 3]
    assert grades[-1].value == pytest.approx(RECORD.trials[1].value)


def test_hparams_hold_every_metric_and_what_was_drawn(tmp_path: Path) -> None:
    lay_out_trials(RECORD, tmp_path)
    events = EventAccumulator(str(tmp_path / "trials" / "0000-sampled" / SUMMARY_FILE)).Reload()
    told = events.PluginTagToContent(metadata.PLUGIN_NAME)
    experiment = metadata.parse_experiment_plugin_data(told[metadata.EXPERIMENT_TAG])
    names = [info.name for info in experiment.hparam_infos]
    assert {"origin", "layers", "mask.first", "alpha", "optimiser.lr"} <= set(names)
    tags = {"valid/mrr", "valid/standard_error", "cost/parameters", "cost/latency_ms", "cost/seconds"}
    assert {info.name.tag for info in experiment.metric_infos} == tags == set(events.Tags()["scalars"])
    start = metadata.parse_session_start_info_plugin_data(told[metadata.SESSION_START_INFO_TAG])
    assert start.hparams["optimiser.lr"].number_value == pytest.approx(RECORD.trials[0].params["optimiser.lr"])
    pruned = EventAccumulator(str(tmp_path / "trials" / "0005-sampled" / SUMMARY_FILE)).Reload()
    ended = pruned.PluginTagToContent(metadata.PLUGIN_NAME)[metadata.SESSION_END_INFO_TAG]
    assert metadata.parse_session_end_info_plugin_data(ended).status == 2  # STATUS_FAILURE


def test_an_origin_is_a_safe_folder_and_stale_trials_go(tmp_path: Path) -> None:
    stale = tmp_path / "trials" / "0099-sampled" / SCALARS_FILE
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"old")
    before = lay_out_trials(RECORD, tmp_path)
    assert not stale.exists() and lay_out_trials(RECORD, tmp_path) == before
    assert len([path for path in (tmp_path / "trials").iterdir() if path.name.startswith("0003-masks_50_25-")]) == 1
