"""`python -m benchmarks.chain` at toy size: all of its figures are there; nothing is timed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from reference import tiny_chain

from benchmarks import chain

TOY = {"layers": 3, "width": 32, "heads": 4, "vocabulary": 400}


@pytest.mark.whole
def test_each_grade_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chain, "BASE", TOY)
    graph = str(tiny_chain.written_graph(tmp_path))
    chain.measure(data=graph, base=True, layers="3,2,1", epochs=2, steps=None, batch=8, settings=[], json=True)
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["grade"], line["layers"]) for line in found] == [("teacher", 3), ("2", 2), ("1", 1)]
    for line in found:
        assert line["tokens_per_second"] > 0 and 0 < line["utilisation"] < 2
        assert 0 < line["trained_s"] < line["whole_s"]
        assert line["steps"] >= 2 and line["mrr"] > 0
    chain.measure(data=graph, base=False, layers="1", epochs=1, steps=1, batch=4, settings=[], json=True)  # MiniLM's
    (line,) = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (line["layers"], line["steps"]) == (1, 1) and line["tokens_per_second"] > 0
    chain.measure(data=graph, base=True, layers="2", epochs=1, steps=1, batch=8, settings=["seed=1"], json=False)
    out = capsys.readouterr().out
    assert "utilisation" in out and "teacher" in out
