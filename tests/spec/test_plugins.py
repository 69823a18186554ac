"""Parts by name: a new file is a new part, and nothing but a file of that folder is loaded."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pmd_ray.spec import plugins
from pmd_ray.spec.loss import LossConfig


def test_every_part_loads_and_keeps_its_folders_promise() -> None:
    for kind in plugins.ROOMS:
        assert plugins.names(kind)
        for name in plugins.names(kind):
            part = plugins.load(kind, name)
            if kind == "loss" and part.ROLE != "label":
                assert part.Options().name == name
            if kind in ("layer map", "teacher choice"):
                assert callable(part.choose)


@pytest.mark.parametrize("name", ["", "..", "os", "../loss", "__init__", "scores.x", "SCORES"])
def test_nothing_else_is_loaded(name: str) -> None:
    with pytest.raises(ValueError, match="no loss"):
        plugins.load("loss", name)


def test_an_unknown_part_names_the_legal_ones() -> None:
    with pytest.raises(ValueError, match="there are bottom, paper, similarity, top, uniform; did you mean 'uniform'"):
        plugins.load("layer map", "unifrm")


def test_a_new_file_is_a_new_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room = tmp_path / "more_losses"
    room.mkdir()
    (room / "__init__.py").write_text("")
    (room / "mgfd.py").write_text(Path(str(plugins.load("loss", "mgfd").__file__)).read_text())
    (room / "nil.py").write_text(
        "from typing import Literal\nfrom pmd_ray.spec.loss import LossOptions\nROLE = 'score'\n"
        "class Options(LossOptions):\n    name: Literal['nil'] = 'nil'\n    power: float = 2.0\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(plugins.ROOMS, "loss", "more_losses")
    loss = LossConfig.model_validate({"score": {"name": "nil", "power": 3}, "feature": "mgfd"})
    assert loss.model_dump()["score"] == {"name": "nil", "power": 3.0}
    for name in [name for name in sys.modules if name.startswith("more_losses")]:
        del sys.modules[name]
