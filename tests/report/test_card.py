"""Every id leads to its card."""

from __future__ import annotations

import json

import pytest
from report.synthetic_study import Made

from pmd_ray.report.card import Card, card
from pmd_ray.report.contents import Contents
from pmd_ray.report.find import find
from pmd_ray.spec.errors import UserError


def card_of(made: Made, text: str) -> Card:
    return card(find(text, [made.record], where="here"), lambda found: made.store)


def test_every_row_of_the_table_has_one(made: Made, found: Contents) -> None:
    for row in found.rows:
        assert row.line is not None
        place = find(row.line.id, [made.record], where="here")
        assert place.id == row.line.id and {key for _, key in place.keys} == set(row.line.keys.values())


def test_what_it_says(made: Made, found: Contents) -> None:
    line = found.chains["no_mgfd"].last
    told = card_of(made, line.id)
    (use,) = told.uses
    assert (use.variant, use.grade, use.difference, use.dataset) == (
        "no_mgfd",
        "3",
        "loss.beta: 0, mask.rate: 0",
        "cldr",
    )
    first = told.stages[0]
    assert first.seed == 0 and first.key == made.key("no_mgfd", "3", 0) and first.state == "stored"
    assert first.parents == tuple((name, made.key("no_mgfd", name, 0)) for name in ("6", "12", "teacher"))
    assert first.metrics["mrr"] == found.numbers.per_seed(line, "mrr")[0]
    assert first.provenance is not None and first.provenance.host == "node7"
    assert first.where == str(made.store.fetch(first.key))
    assert json.loads(json.dumps(told.json()))["stages"][2]["costs"]["latency_ms"]["1"] == 5.0


def test_a_shared_stage_stands_in_all_its_rows(made: Made, found: Contents) -> None:
    told = card_of(made, found.chains["direct"].lines[0].id)
    assert [use.variant for use in told.uses] == ["baseline", "no_mgfd", "fixed_10", "direct"]


def test_a_stage_is_found_by_its_keys_first_digits(made: Made) -> None:
    key = made.key("direct", "3", 2)
    told = card_of(made, key[:10])
    assert (told.id, [stage.seed for stage in told.stages]) == (key, [2])
    assert told.stages[0].parents == (("teacher", made.key("direct", "teacher", 2)),)


def test_a_stage_without_a_study_has_a_card(made: Made) -> None:
    key = made.record.keys[0]
    told = card(find(key[:9], [], stored=made.store.keys(), where="here"), lambda found: made.store)
    assert told.uses == () and told.stages[0].metrics["mrr"] > 0


def test_of_trials_only_validation_is_seen(made: Made, found: Contents) -> None:
    key, trials = made.key("direct", "3", 2), made.record.model_copy(update={"trials": True})
    alone = card(find(key[:10], [trials], where="here"), lambda found: made.store).stages[0]
    assert alone.metrics == {} and alone.valid_mrr is not None
    # A study that uses the same stage scores it: the confirmation, or anybody's ablation.
    both = card(find(key[:10], [trials, made.record], where="here"), lambda found: made.store).stages[0]
    assert both.metrics["mrr"] > 0 and both.valid_mrr == alone.valid_mrr


def test_nothing_and_ambiguous_are_one_clear_error(made: Made, found: Contents) -> None:
    line = found.chains["direct"].last
    wrong = line.id[:7] + ("0" if line.id[7] != "0" else "1")
    with pytest.raises(UserError, match=rf"no id begins with '{wrong}' in here; near are {line.id} \(direct 3\)"):
        find(wrong, [made.record], where="here")
    for text in ("xyz1", "abc"):
        with pytest.raises(UserError, match="an id is 4 digits or more"):
            find(text, [made.record], where="here")
    twins = [line.keys[0][:4] + "0" * 60, line.keys[0][:4] + "1" * 60]
    with pytest.raises(UserError, match=r"begins \d ids; give more digits: .*\(a stage\)"):
        find(line.keys[0][:4], [made.record], stored=twins, where="here")
