"""What sharing saved: counted from the record, held against the attempts in the store."""

from __future__ import annotations

from pathlib import Path

import pytest
from report.search_made import CPU_SECONDS, MadeSearch, make_search, publish_stage

from pmd_ray.report.search_sharing import finished_keys, sharing, sharing_sheet, sharing_text
from pmd_ray.spec.attempt import AttemptState
from pmd_ray.store.store import Store


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> MadeSearch:
    return make_search(tmp_path_factory.mktemp("made"), trials=12)


def test_counts_agree_with_the_attempts(made: MadeSearch) -> None:
    found = sharing(made.record, made.store)
    stages = [use.key for trial in made.record.trials for use in trial.stages]
    assert (found.asked, found.distinct) == (len(stages), len(set(stages)))
    done = [attempt.key for attempt in made.store.attempts() if attempt.state is AttemptState.DONE]
    assert found.finished == found.trained_in_store == found.ours_in_store == len(done) == len(set(done))
    assert found.finished < found.finished_naive and found.complaints == ()
    assert found.hours == pytest.approx(found.finished * CPU_SECONDS / 3600)
    assert found.hours_naive == pytest.approx(found.finished_naive * CPU_SECONDS / 3600)
    assert found.commits[0].stages == len(done) and not found.estimated
    assert sharing_sheet(found, gpu=False).column("distinct")[:2] == [found.distinct, found.finished]


def test_a_pruned_trial_counts_what_it_saw_to_its_end(made: MadeSearch) -> None:
    pruned = made.record.trials[5]
    assert pruned.state == "pruned" and len(finished_keys(pruned)) == 2 < len(pruned.stages)


def test_disagreement_is_told(tmp_path: Path) -> None:
    made = make_search(tmp_path, trials=3)
    first = made.record.trials[0].stages[0].key
    made.store.begin(first, study="made").end(AttemptState.DONE, seconds=1.0)
    made.store.artifacts.remove(made.record.trials[0].stages[1].key)
    complaints = sharing(made.record, made.store).complaints
    assert len(complaints) == 2
    assert "are not in the store" in complaints[0] and "more than once: " + first[:12] in complaints[1]


def test_an_empty_store_is_told_and_hours_are_the_trials_own(made: MadeSearch, tmp_path: Path) -> None:
    empty = Store.open(tmp_path / "empty")
    done = made.record.model_copy(update={"trials": made.record.trials[:5]})
    found, real = sharing(done, empty), sharing(done, made.store)
    assert "have no attempt in the store that ended well" in found.complaints[0]
    assert found.estimated and "in part as the trials tell it" in sharing_text(found, gpu=False)
    assert found.hours == pytest.approx(real.hours) and found.hours_naive == pytest.approx(real.hours_naive)
    assert sharing(made.record, empty).hours is None  # the cost of a pruned trial's stages nobody knows


def test_stages_of_others_are_told(tmp_path: Path) -> None:
    made = make_search(tmp_path, trials=1)
    store = Store.open(tmp_path / "other")
    for use in made.record.trials[0].stages:
        publish_stage(store, use.key, study="an ablation")
    found = sharing(made.record, store)
    assert found.ours_in_store == 0 and "3 of those in the store were trained by others" in sharing_text(
        found, gpu=False
    )
