"""A chain that asks for layers that are not there is refused before anything is trained."""

from __future__ import annotations

import numpy as np
import pytest
from reference import small

from pmd_ray.spec.chain_file import load_chain
from pmd_ray.spec.errors import SpecError
from pmd_ray.train.workshop import Workshop, check_depths


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["layers=[7]"], ["grades.teacher.layers: the encoder", "has 6 layers, got 7"]),
        (
            ["layers=[6,3]", "grades.3.init.layer_map=[1,3,6]"],
            ["grades.3.init.layer_map", "layers 0 to 5", "[1, 3, 6]"],
        ),
        (
            ["layers=[6,4,2]", "grades.2.init.source=teacher", "grades.2.init.layer_map=[1,4]"],
            ["grades.2.init.layer_map: its teacher '4' has layers 0 to 3, got [1, 4]"],
        ),
    ],
)
def test_layers_that_are_not_there(overrides: list[str], said: list[str]) -> None:
    with pytest.raises(SpecError) as refused:
        check_depths(load_chain("pmd_code", ["encoder=minilm", *overrides]), 6)
    assert all(words in str(refused.value) for words in said)


def test_layers_that_are_there() -> None:
    check_depths(load_chain("pmd_warm", ["layers=[6,6,3,2]", "grades.3.init.layer_map=[0,2,5]"]), 6)


def test_the_layer_sample_has_every_text_whole() -> None:
    """Whatever their lengths: texts that differ in length are padded together, none is left out."""
    graph = small.dense_graph()
    texts = small.texts_of(graph)
    ids, segments, attended = Workshop(graph, small.small_source(0), texts).sample()
    rows = texts.entity_rows(np.arange(graph.num_entities))
    assert len(set(rows.ids.lengths.tolist())) > 1
    found = sorted(tuple(row[look].tolist()) for row, look in zip(ids, attended.bool(), strict=True))
    assert found == sorted(tuple(rows.ids[row].tolist()) for row in range(len(rows)))
    assert ids.shape == segments.shape == attended.shape == (graph.num_entities, int(rows.ids.lengths.max()))
