"""The Optuna journal of a search: it opens, and every trial is in it as it ended."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
from optuna.distributions import FloatDistribution, distribution_to_json
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from run.made_search import LAYERS, SPACE, done, facts_of, only_round, record_of, search_of

from pmd_ray.run.search.journal import check_journal, write_journal
from pmd_ray.run.search.rounds import whole_rounds
from pmd_ray.spec.errors import StorageError, UserError
from pmd_ray.spec.search_record import Report, SearchRecord, TrialRecord, TrialState

DISTRIBUTIONS = {"alpha": distribution_to_json(FloatDistribution(0.0, 1.0))}
ENDS = [TrialState.DONE, TrialState.PRUNED, TrialState.FAILED, TrialState.RUNNING]
NAMES = {"done": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL", "running": "RUNNING"}


def reported(trial: TrialRecord) -> TrialRecord:
    reports = tuple(Report(epoch=epoch, grade="1", grade_epoch=epoch, value=epoch / 10) for epoch in (1, 2))
    params = {"alpha": trial.number / 10}
    return trial.model_copy(update={"reports": reports, "params": params, "distributions": DISTRIBUTIONS})


def searched() -> SearchRecord:
    """A trial of each end, and one outside the space."""
    search = search_of()
    each = only_round(search)
    trials = [
        reported(done(each, n, 0.4 if state is TrialState.DONE else None, {"loss.alpha": n / 10}, state=state))
        for n, state in enumerate(ENDS)
    ]
    outside = done(each, 4, 0.5, {"optimiser.lr": 0.5}, origin="mine").model_copy(update={"inside": False})
    return record_of(search, *trials, outside)


def opened(path: Path, name: str) -> optuna.Study:
    return optuna.load_study(study_name=name, storage=JournalStorage(JournalFileBackend(str(path))))


def test_every_trial_is_in_it_as_it_ended(tmp_path: Path) -> None:
    record, path = searched(), tmp_path / "new" / "trials.log"
    assert write_journal(record, path) == ["small chain"]
    found = opened(path, "small chain").trials
    assert [trial.user_attrs["trial"] for trial in found] == [trial.number for trial in record.trials]
    assert [trial.state.name for trial in found] == [NAMES[trial.state.value] for trial in record.trials]
    assert [trial.params for trial in found] == [*({"alpha": n / 10} for n in range(4)), {}]
    assert found[0].value == 0.4 and found[0].intermediate_values == {1: 0.1, 2: 0.2}
    assert found[4].value == 0.5 and found[4].user_attrs["origin"] == "mine"
    assert found[4].user_attrs["settings"] == {"optimiser.lr": 0.5}
    assert [place.name for place in path.parent.iterdir()] == ["trials.log"]


def test_a_study_for_each_round(tmp_path: Path) -> None:
    search = search_of(space={**SPACE, "layers": LAYERS})
    rounds = list(whole_rounds(search, facts_of))
    trials = [reported(done(each, n, 0.4, {"layers": [4, each.target]})) for n, each in enumerate(rounds)]
    path = tmp_path / "trials.log"
    assert write_journal(record_of(search, *trials), path) == ["small layers-2", "small layers-1"]
    assert [len(opened(path, f"small layers-{depth}").trials) for depth in (2, 1)] == [1, 1]


def test_several_objectives_keep_their_directions(tmp_path: Path) -> None:
    search = search_of(search={"objectives": ["metric", "parameters"]})
    trial = done(only_round(search), 0, 0.4).model_copy(update={"values": (0.4, 1000.0)})
    write_journal(record_of(search, trial), tmp_path / "trials.log")
    study = opened(tmp_path / "trials.log", "small chain")
    assert [one.name for one in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert study.trials[0].values == [0.4, 1000.0]


def test_an_older_journal_gives_way_and_nothing_else_does(tmp_path: Path) -> None:
    path, record = tmp_path / "trials.log", searched()
    write_journal(record, path)
    before = path.stat().st_size
    check_journal(path)
    write_journal(record, path)
    assert path.stat().st_size == before and len(opened(path, "small chain").trials) == 5
    mine = tmp_path / "mine.yaml"
    mine.write_text("baseline: demo\n")
    with pytest.raises(UserError, match="is no Optuna journal"):
        check_journal(mine)


def test_a_place_that_cannot_be_written_is_told_and_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for place in (tmp_path / "file" / "trials.log", tmp_path):
        with pytest.raises(StorageError, match="could not be written"):
            check_journal(place)
        with pytest.raises(StorageError, match="could not be written"):
            write_journal(searched(), place)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "x"


def test_a_search_without_trials_is_an_empty_journal(tmp_path: Path) -> None:
    assert write_journal(record_of(search_of()), tmp_path / "trials.log") == []
    check_journal(tmp_path / "trials.log")
