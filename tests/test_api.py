"""The same from Python: five functions, and an import that costs nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import pmd_ray
from pmd_ray import distil, evaluate, load_graph, load_model, predict
from pmd_ray.spec.errors import UserError

pytestmark = pytest.mark.whole


def test_the_import_loads_neither_torch_nor_ray() -> None:
    code = "import sys, pmd_ray; sys.exit(bool({'torch', 'ray', 'transformers', 'numpy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_public_name_is_there_and_documented() -> None:
    assert sorted(pmd_ray.__all__) == ["distil", "evaluate", "load_graph", "load_model", "predict"]
    for name in pmd_ray.__all__:
        assert getattr(pmd_ray, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'tarin'"):
        _ = pmd_ray.tarin


def test_the_five_functions_work_together(tiny_run: Any) -> None:
    heard: list[str] = []
    result = distil(tiny_run.chain, tiny_run.out, listen=lambda event: heard.append(type(event).__name__))
    assert heard == ["ChainPlanned", *["GradeDone"] * 4]
    graph = load_graph(tiny_run.chain.parent / "graph")
    model = load_model(tiny_run.out / "1")
    trained = result.grades[2].test
    assert trained is not None
    for given in (model, tiny_run.out / "1"):
        assert evaluate(given, graph).all.mrr == pytest.approx(trained.all.mrr, abs=1e-9)
    assert evaluate(model, split="valid").split == "valid"
    best = predict(model, "e12", "next", top=3)
    assert len(best) == 3
    assert best == predict(tiny_run.out / "1", "stone 12", "comes before", data=graph, top=3)
    assert predict(model, "e12", "next", inverse=True) == predict(model, "e12", "inverse next")
    assert len(predict(model, "stone: by the river", "next", text=True, top=2)) == 2


def test_what_is_wrong_is_a_user_error(tiny_run: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'demo'"):
        distil("dmeo", tmp_path / "run")
    with pytest.raises(UserError, match="--workers"):
        distil(tiny_run.chain, tmp_path / "run", workers="none")
    with pytest.raises(UserError, match="did you mean"):
        distil(tiny_run.chain, tmp_path / "run", overrides=["mask.rte=0.1"])
    with pytest.raises(UserError, match="holds no model"):
        load_model(tmp_path)
    with pytest.raises(UserError, match="no entity"):
        predict(tiny_run.out / "1", "nobody", "next")
    assert not (tmp_path / "run").exists()
