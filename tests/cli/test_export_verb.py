"""`pmd export`: the folder works in plain transformers, by the code of its own model card."""

from __future__ import annotations

import re
import sys
from ast import literal_eval
from collections.abc import Callable
from importlib import import_module
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

pytestmark = pytest.mark.whole

Pmd = Callable[..., Any]


def test_the_folder_is_whole(pmd: Pmd, tiny_run: Any, tmp_path: Path) -> None:
    done = pmd("export", tiny_run.out / "1", tmp_path / "out", "--json")
    assert done.code == 0, done.err
    assert done.json["files"] == ["README.md", "entities.parquet", "hr", "pmd.json", "tail"]
    assert done.json["entities"] == 40
    assert {path.name for path in (tmp_path / "out" / "hr").iterdir()} >= {"config.json", "model.safetensors"}
    table = pq.read_table(tmp_path / "out" / "entities.parquet")
    assert table.column_names == ["id", "name", "vector"]
    assert table["id"].to_pylist()[:2] == ["e00", "e01"]
    norms = [sum(x * x for x in vector) for vector in table["vector"].to_pylist()]
    assert norms == pytest.approx([1.0] * 40, abs=1e-5)
    told = pmd("evaluate", tiny_run.out / "1", "--json").json
    assert pmd("evaluate", tmp_path / "out", "--json").json["mrr"] == told["mrr"]


class Absent(MetaPathFinder):
    """This project is not installed."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name.partition(".")[0] == "pmd_ray":
            raise ModuleNotFoundError(f"No module named '{name}'")


@pytest.fixture
def without_us(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Run code where nothing can import pmd_ray; a process of its own would load torch and transformers again."""

    def run(code: str) -> None:
        with monkeypatch.context() as patch:
            for name in [name for name in sys.modules if name.partition(".")[0] == "pmd_ray"]:
                patch.delitem(sys.modules, name)
            patch.setattr(sys, "meta_path", [Absent(), *sys.meta_path])
            with pytest.raises(ModuleNotFoundError):
                import_module("pmd_ray")
            exec(code, {"__name__": "__main__"})
            assert "pmd_ray" not in sys.modules

    return run


def test_the_code_of_the_model_card_runs_without_us(
    pmd: Pmd,
    tiny_run: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    without_us: Callable[[str], None],
) -> None:
    """It asks the first training triple; its answers and scores are those of `pmd predict`."""
    assert pmd("export", tiny_run.out / "1", tmp_path / "out").code == 0
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    found = re.search(r"```python\n(.*?)```", card, re.DOTALL)
    assert found
    with monkeypatch.context() as patch:
        patch.chdir(tmp_path / "out")
        without_us(found[1])
    answers = literal_eval(capsys.readouterr().out)
    head, relation, _ = (tiny_run.chain.parent / "graph" / "train.tsv").read_text().splitlines()[0].split("\t")
    asked = pmd("predict", tiny_run.out / "1", head, relation, "--json").json["answers"]
    assert [name for name, _ in answers] == [answer["name"] for answer in asked]
    assert [score for _, score in answers] == pytest.approx([answer["score"] for answer in asked], abs=2e-3)
