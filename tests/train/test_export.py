"""An exported model works in plain transformers, by its own README."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from reference import tiny_chain
from reference.tiny_chain import Tiny

from pmd_ray.spec.errors import UserError
from pmd_ray.train.export import export
from pmd_ray.train.use import load_model, predict

pytestmark = pytest.mark.whole


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_chain.written_graph(tmp_path_factory.mktemp("export"))


def trained(source: Path, out: Path, **settings: Any) -> Tiny:
    settings = {"optimiser__epochs": 1, "dataset__text__max_tokens": 50, **settings}
    chain = tiny_chain.tiny(source, out, preset="simkgc", layers=(1,), **settings)
    chain.train()
    return chain


@pytest.mark.parametrize(
    "settings",
    [{}, {"encoder__pooling": "cls", "encoder__towers": "shared", "dataset__text__max_tokens": 12}],
    ids=["two towers, mean", "one tower, first token"],
)
def test_the_readme_reproduces_the_scores(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]
) -> None:
    chain = trained(source, tmp_path / "run", **settings)
    grade, graph = chain.stages[0].out, chain.shop.graph
    out = export(grade, load_model(grade, device="cpu"), graph, tmp_path / "exported")
    towers = {"hr"} if "encoder__towers" in settings else {"hr", "tail"}
    assert {place.name for place in out.iterdir()} == towers | {"README.md", "entities.parquet", "pmd.json"}
    readme = (out / "README.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(.*?)```", readme, re.DOTALL)
    assert code is not None and "pmd_ray" not in code[1]
    monkeypatch.chdir(out)
    said, names = io.StringIO(), dict[str, Any]()
    with contextlib.redirect_stdout(said):
        exec(code[1], names)
    head, relation, _ = graph.train[0].tolist()
    wanted = predict(load_model(grade, device="cpu"), graph, graph.entity_ids[head], graph.relation_ids[relation])
    assert names["best"].values.tolist() == pytest.approx([one.score for one in wanted], abs=1e-5)
    assert str([(one.name, round(one.score, 3)) for one in wanted])[:20] in said.getvalue()
    # The table's vectors are those of `tail/` over the entities' texts, without this project too.
    texts = [chain.shop.texts.entity_string(entity) for entity in range(graph.num_entities)]
    table = pq.read_table("entities.parquet")
    assert table["id"].to_pylist() == list(graph.entity_ids)
    assert np.allclose(table["vector"].to_pylist(), _vectors(texts, settings), atol=1e-5)


@torch.inference_mode()
def _vectors(texts: list[str], settings: dict[str, Any]) -> Any:
    from transformers import AutoModel, AutoTokenizer

    tower = "hr" if "encoder__towers" in settings else "tail"
    tokenizer, model = AutoTokenizer.from_pretrained(tower), AutoModel.from_pretrained(tower).eval()
    longest = settings.get("dataset__text__max_tokens", 50)
    vectors = []
    for text in texts:
        states = model(**tokenizer(text, truncation=True, max_length=longest, return_tensors="pt")).last_hidden_state[0]
        vectors.append(states[0] if settings else states.mean(0))
    return torch.nn.functional.normalize(torch.stack(vectors), dim=-1).numpy()


def test_a_folder_in_use_is_refused(source: Path, tmp_path: Path) -> None:
    chain = trained(source, tmp_path / "run")
    grade = chain.stages[0].out
    model = load_model(grade, device="cpu")
    used = tmp_path / "used"
    used.mkdir()
    export(grade, model, chain.shop.graph, used)  # an empty one may be there
    before = sorted(place.name for place in used.iterdir())
    with pytest.raises(UserError, match="exists and is not empty"):
        export(grade, model, chain.shop.graph, used)
    assert sorted(place.name for place in used.iterdir()) == before
    with pytest.raises(UserError, match="exists and is not empty"):
        export(grade, model, chain.shop.graph, used / "README.md")
    assert not [place for place in tmp_path.iterdir() if place.name.startswith(".")]


def test_an_exported_model_is_a_model(source: Path, tmp_path: Path) -> None:
    chain = trained(source, tmp_path / "run")
    grade = chain.stages[0].out
    out = export(grade, load_model(grade, device="cpu"), chain.shop.graph, tmp_path / "exported")
    answers = [predict(load_model(place, device="cpu"), chain.shop.graph, "e01", "r0") for place in (grade, out)]
    assert answers[0] == answers[1]
