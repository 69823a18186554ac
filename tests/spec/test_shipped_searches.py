"""The shipped search files: commented, every point that chance draws a chain, with the shares that they promise."""

from __future__ import annotations

import shlex
from itertools import pairwise

import optuna
import pytest

from pmd_ray.spec.draw import draw_chain
from pmd_ray.spec.enqueued import enqueued
from pmd_ray.spec.points import all_params, chain_of, params_of, settings_of, targets_of
from pmd_ray.spec.search import SearchConfig
from pmd_ray.spec.search_chain import meaning_of
from pmd_ray.spec.search_file import SHIPPED, load_search, shipped_searches

pytestmark = pytest.mark.whole

NAMES = ["full", "layers", "masks", "quickstart", "weights"]
PAPERS = [name for name in NAMES if name != "quickstart"]
"""In the paper's own setting."""


@pytest.fixture(scope="module")
def searches() -> dict[str, SearchConfig]:
    return {name: load_search(name) for name in shipped_searches()}


def test_what_is_shipped(searches: dict[str, SearchConfig]) -> None:
    assert list(searches) == NAMES
    for name, search in searches.items():
        assert search.name == name and search.about.endswith("?")
        assert SearchConfig.model_validate_json(search.model_dump_json()) == search


@pytest.mark.parametrize("name", NAMES)
def test_each_line_has_a_comment(name: str) -> None:
    text = (SHIPPED / f"{name}.yaml").read_text(encoding="utf-8")
    for above, line in pairwise(text.splitlines()):
        assert len(line) <= 120
        if line.strip() and not line.strip().startswith("#"):
            assert above.strip().startswith("#"), line


@pytest.mark.parametrize("name", NAMES)
def test_fifty_random_points_are_chains(searches: dict[str, SearchConfig], name: str) -> None:
    search = searches[name]
    targets = targets_of(search)
    for place, target in enumerate(targets):
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=place))
        for _ in range(-(-50 // len(targets))):
            trial = study.ask()
            params = draw_chain(search, trial, target=target)
            chain = chain_of(search, settings_of(search, params, target=target))
            assert params == trial.params
            assert target in (None, chain.grades[-1].layers)


@pytest.mark.parametrize("name", NAMES)
def test_the_baseline_is_inside_and_tried_first(searches: dict[str, SearchConfig], name: str) -> None:
    search = searches[name]
    depth = chain_of(search, {}).grades[-1].layers
    target = depth if search.space.layers else None
    first = enqueued(search, target=target)[0]
    assert (first.name, first.params) == ("default", params_of(search, {}, target=target))
    assert first.params is not None


@pytest.mark.parametrize("name", PAPERS)
def test_the_papers_own_setting(searches: dict[str, SearchConfig], name: str) -> None:
    chain = chain_of(searches[name], {})
    assert (chain.dataset.source, chain.encoder.name) == ("WN18RR", "bert-base-uncased")
    assert [grade.layers for grade in chain.grades] == [12, 12, 9, 6, 3]
    assert [grade.mask.rate for grade in chain.grades] == [0.0, 0.2, 0.1, 0.05, 0.0]
    assert {(grade.optimiser.epochs, grade.optimiser.batch) for grade in chain.grades} == {(50, 512)}


@pytest.mark.parametrize("name", PAPERS)
def test_the_command_in_the_comments_does_what_it_says(name: str) -> None:
    """Each file shows how to take another graph and an encoder of six layers."""
    lines = (SHIPPED / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    told = "\n".join(line.removeprefix("#").strip() for line in lines if line.startswith("#   "))
    program, verb, given, *rest = shlex.split(told.replace("\\\n", " "))
    assert (program, verb, given, set(rest[::2])) == ("pmd", "search", name, {"--set"})
    search = load_search(name, rest[1::2])
    chain = chain_of(search, {})
    assert (chain.dataset.source, chain.encoder.name, chain.grades[0].layers) == ("FOLDER", "minilm", 6)
    assert max(search.space.layers.first if search.space.layers else (6,)) == 6


def test_the_quickstart_is_small_and_shares(searches: dict[str, SearchConfig]) -> None:
    search = searches["quickstart"]
    assert search.budget.trials is not None and search.budget.trials >= 20 and search.search.pruner == "asha"
    student = chain_of(search, {}).grades[-1].optimiser
    assert (student.epochs, student.steps_per_epoch, student.schedule) == (2, 12, "wsd")
    points = all_params(search, target=2)
    teachers = {meaning_of(search, settings_of(search, point, target=2))[0] for point in points[::50]}
    assert len(teachers) == 1


def test_the_papers_grid_of_weights(searches: dict[str, SearchConfig]) -> None:
    search = searches["weights"]
    points = all_params(search, target=None)
    stages = [meaning_of(search, settings_of(search, point, target=None)) for point in points]
    assert len(points) == 24  # 0.5 and 0.5 would leave the labels none
    assert (sum(map(len, stages)), len({key for chain in stages for key in chain})) == (120, 74)
