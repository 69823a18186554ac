"""Fingerprints without torch: those that a run has, or stand-ins that say how to get the real ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from reference.tiny import write_graph

from pmd_ray.kg.load import load_graph
from pmd_ray.plan import identities as room
from pmd_ray.plan.identities import device_named, encoder_label, identify
from pmd_ray.spec.errors import DataError, SpecError, UserError


def test_the_graph_is_known_by_its_content(studied: Any, graph_folder: Path) -> None:
    found = identify(studied({"x": {"loss.alpha": 0.3}}), device="cpu")
    graph = load_graph(graph_folder)
    assert found.known
    assert found.dataset is not None
    assert found.dataset.fingerprint == graph.fingerprint
    assert (found.dataset.entities, found.dataset.train) == (graph.num_entities, len(graph.train))
    assert found.dataset.source == str(graph_folder)


def test_weights_from_scratch_follow_the_seed_and_the_texts(studied: Any, tmp_path: Path) -> None:
    found = identify(studied({"x": {"loss.alpha": 0.3}}, seeds=[3, 4]), device="cpu")
    assert len(found.encoders) == len(set(found.encoders.values())) == 2
    folder = write_graph(tmp_path / "other")
    (folder / "relations.tsv").write_text("next\tcomes after\ndouble\tis half of\n")
    other = identify(studied({"x": {"loss.alpha": 0.3}}, seeds=[3, 4], baseline={"dataset": str(folder)}), device="cpu")
    assert other.encoders.keys() == found.encoders.keys()
    assert not set(other.encoders.values()) & set(found.encoders.values())


def test_facts_are_those_of_a_chain_and_its_seed(studied: Any) -> None:
    study = studied({"x": {"loss.alpha": 0.3}}, seeds=[3, 4])
    found = identify(study, device="cuda")
    for run in study.runs():
        facts = found.facts_of(run.chain)
        assert facts.device == "cuda"
        assert facts.encoder == found.encoders[encoder_label(run.chain.encoder, run.seed)]


def test_the_fingerprint_is_the_one_that_training_uses(studied: Any, graph_folder: Path) -> None:
    from pmd_ray.model.source import load_source

    study = studied({"x": {"loss.alpha": 0.3}}, seeds=[3])
    source = load_source(study.variants[0].arms[0].chain.encoder, load_graph(graph_folder).texts(), seed=3)
    assert list(identify(study, device="cpu").encoders.values()) == [source.fingerprint]


def test_a_dataset_that_is_not_fetched_is_planned_by_its_sizes(studied: Any, tmp_path: Path) -> None:
    study = studied({"x": {"loss.alpha": 0.3}}, baseline={"dataset": "WN18RR"})
    found = identify(study, device="cpu", home=tmp_path)
    assert found.dataset is None
    assert not found.known
    assert "pmd data fetch WN18RR" in found.missing[0]
    assert found.texts.sizes.train == 86_835
    assert found.texts.assumed


def test_an_encoder_that_was_never_downloaded_is_planned_by_known_sizes(studied: Any) -> None:
    # A made-up owner: nobody has it in a cache.
    study = studied({"x": {"loss.alpha": 0.3}}, baseline={"encoder": "nobody-at-all/bert_uncased_L-2_H-128_A-2"})
    found = identify(study, device="cpu")
    assert not found.known
    assert "downloaded once" in found.missing[0]
    assert found.sizes_of(study.variants[0].arms[0].chain).width == 128
    unknown = identify(studied({"x": {"loss.alpha": 0.3}}, baseline={"encoder": "nobody-at-all/new"}), device="cpu")
    assert "taken to be those of bert-base-uncased" in unknown.missing[0]


def test_a_graph_that_nobody_knows_is_an_error(studied: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no graph 'WN18RRR'.*did you mean 'WN18RR'"):
        identify(studied({"x": {"loss.alpha": 0.3}}, baseline={"dataset": "WN18RRR"}), device="cpu", home=tmp_path)


def test_a_broken_graph_is_an_error(studied: Any, tmp_path: Path) -> None:
    folder = write_graph(tmp_path / "graph")
    (folder / "test.tsv").write_text("e00\tnext\tnobody\n")
    with pytest.raises(DataError, match="nobody"):
        identify(studied({"x": {"loss.alpha": 0.3}}, baseline={"dataset": str(folder)}), device="cpu")


def test_more_layers_than_the_encoder_has_are_refused(studied: Any) -> None:
    study = studied({"deep": {"layers": [3, 2, 1]}}, seeds=[0])
    with pytest.raises(SpecError, match=r"variants\.deep: grades\.teacher\.layers: the encoder 'scratch' has 2 layers"):
        identify(study, device="cpu")


@pytest.mark.parametrize(
    ("there", "environment", "device"),
    [
        (True, {}, "cuda"),
        (True, {"CUDA_VISIBLE_DEVICES": "0,1"}, "cuda"),
        (True, {"CUDA_VISIBLE_DEVICES": ""}, "cpu"),
        (True, {"CUDA_VISIBLE_DEVICES": "-1"}, "cpu"),
        (False, {}, "cpu"),
    ],
)
def test_auto_is_a_gpu_where_one_may_be_used(
    there: bool, environment: dict[str, str], device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = tmp_path / "nvidiactl"
    if there:
        driver.touch()
    monkeypatch.setattr(room, "NVIDIA", (driver,))
    assert device_named("auto", environment) == device
    assert device_named("cpu", environment) == "cpu"
    assert device_named("cuda", environment) == "cuda"


def test_another_device_is_refused() -> None:
    with pytest.raises(UserError, match="--device must be cpu, cuda or auto, got 'cude'; did you mean 'cuda'"):
        device_named("cude")
