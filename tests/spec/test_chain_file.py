"""Chain files: what is read is what was written; bad files end in one clear report."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pmd_ray.spec.chain_file import dump_chain, load_chain, parse_override, read_draft, shipped_chains
from pmd_ray.spec.errors import SpecError


def written(folder: Path, text: str | bytes) -> str:
    path = folder / "chain.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def complaint(folder: Path, text: str | bytes) -> str:
    with pytest.raises(SpecError) as caught:
        load_chain(written(folder, text))
    assert caught.value.source.endswith("chain.yaml")
    (error,) = caught.value.errors
    return error


@pytest.mark.parametrize("name", shipped_chains())
def test_every_shipped_chain_loads_and_survives_writing(name: str, tmp_path: Path) -> None:
    chain = load_chain(name)
    assert load_chain(written(tmp_path, dump_chain(chain))) == chain


def test_what_is_shipped() -> None:
    assert shipped_chains() == ["demo", "fb15k237", "umls_names", "umls_released", "wn18rr", "wn18rr_v1"]
    demo = load_chain("demo")
    assert [(grade.layers, grade.mask.rate) for grade in demo.grades] == [(6, 0.0), (6, 0.2), (4, 0.1), (2, 0.0)]
    assert [grade.name for grade in demo.controlled()] == ["4", "2"]
    assert load_chain("wn18rr").grades[1].optimiser.epochs == 50
    assert load_chain("fb15k237").grades[1].optimiser.lr == 3e-5


@pytest.mark.parametrize("name", shipped_chains())
def test_each_setting_of_a_shipped_chain_has_a_comment(name: str) -> None:
    lines = (Path(load_chain.__code__.co_filename).parents[1] / "chains" / f"{name}.yaml").read_text().splitlines()
    for above, line in pairwise(lines):
        if line.strip() and not line.strip().startswith("#") and not line.endswith(":"):
            assert above.strip().startswith("#") or above.endswith(":"), line


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(1, 12), min_size=1, max_size=5).map(lambda layers: sorted(layers, reverse=True)),
    st.floats(1e-7, 1.0),
    st.sampled_from(["uniform", [0], None]),
    st.integers(0, 2**63 - 1),
)
def test_any_chain_survives_writing(
    tmp_path_factory: pytest.TempPathFactory, layers: list[int], lr: float, layer_map: Any, seed: int
) -> None:
    overrides = [f"layers={layers}", f"optimiser.lr={lr!r}", f"seed={seed}"]
    if layer_map == "uniform" or (layer_map and set(layers) == {1}):
        overrides.append(f"init.layer_map={layer_map}")
    chain = load_chain("pmd_code", overrides)
    assert load_chain(written(tmp_path_factory.mktemp("chain"), dump_chain(chain))) == chain


def test_overrides_over_a_shipped_chain() -> None:
    chain = load_chain("demo", ["layers=[6,6,3,2]", "grades.3.optimiser.lr=1e-5", "mask.positions=code"])
    assert [grade.mask.rate for grade in chain.grades] == [0.0, 0.2, 0.1, 0.0]
    assert chain.grades[2].optimiser.lr == 1e-5
    assert {grade.mask.positions for grade in chain.grades} == {"code"}
    assert load_chain("wn18rr", ["layers=[6,6,3,2]"]).grades[1].mask.rate == 0.2
    assert load_chain("demo", ["preset=pmd_code"]).grades[1].mask.per == "occurrence"


def test_a_files_grade_gives_way_to_a_later_setting_for_all(tmp_path: Path) -> None:
    path = written(tmp_path, "layers: [6, 6, 3]\nmask: {rate: 0.1}\ngrades:\n  6:\n    mask.rate: 0.3\n")
    assert [grade.mask.rate for grade in load_chain(path).grades] == [0.0, 0.3, 0.1]
    assert [grade.mask.rate for grade in load_chain(path, ["mask.rate=0.2"]).grades] == [0.0, 0.2, 0.2]
    assert [grade.mask.rate for grade in load_chain(path, ["grades.*.mask.rate=0.2"]).grades] == [0.0, 0.2, 0.2]


def test_a_written_out_chain_takes_overrides(tmp_path: Path) -> None:
    path = written(tmp_path, dump_chain(load_chain("pmd_code")))
    chain = load_chain(path, ["mask.rate=0.3", "grades.teacher.mask.rate=0.1", "grades.3.layers=2"])
    assert [grade.mask.rate for grade in chain.grades] == [0.1, 0.3, 0.3, 0.3, 0.3]
    assert chain.grades[-1].layers == 2


def test_a_number_as_a_key_names_a_grade(tmp_path: Path) -> None:
    chain = load_chain(written(tmp_path, "layers: [12, 12]\ngrades:\n  12:\n    optimiser: {lr: 1e-5}\n"))
    assert chain.grades[1].optimiser.lr == 1e-5


def test_a_path_wins_over_a_shipped_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("demo").write_text("layers: [2]")
    assert load_chain("demo").grades[0].layers == 2


BAD = [
    ("layers: [6]\nlayers: [3]\n", "line 2, column 1: key 'layers' is given twice"),
    ("layers: [6, 3]\ngrades:\n  3: {}\n  '3': {}\n", "line 4, column 3: key '3' is given twice"),
    ("layers: [6, 3]\n\tmask: 1", "line 2, column 1: found character '\\t' that cannot start any token"),
    ("layers: [6", "line 1, column 11: expected ',' or ']', but got '<stream end>'"),
    ("? [1, 2]\n: 3", "line 1, column 3: [1, 2] cannot be a key"),
    ("layers: &a [*a]", "line 1, column 9: found unconstructable recursive node"),
    ("x: !!python/object:os.system {}", "line 1, column 4: could not determine a constructor for the tag"),
    ("x: 2024-99-99", "month must be in"),
    ("[" * 700, "is nested too deeply"),
    (b"layers: [6]\n# caf\xe9\n", "is not UTF-8 at byte 17; save it as UTF-8"),
    (b"layers: [6]\x00", "unacceptable character"),
    ("", "is empty; a chain file needs layers, or a preset"),
    ("# only this\n", "is empty;"),
    ("- 6\n- 3\n", "must be a mapping of settings, as in layers: [6, 3], got a list"),
    ("demo", "must be a mapping of settings, as in layers: [6, 3], got a str"),
]


@pytest.mark.parametrize(("text", "start"), BAD, ids=lambda value: repr(value)[:30])
def test_a_bad_file_is_one_clear_line(tmp_path: Path, text: str | bytes, start: str) -> None:
    error = complaint(tmp_path, text)
    assert error.startswith(start)
    assert "\n" not in error


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="cannot be read: No such file"):
        read_draft(tmp_path / "absent.yaml")


@pytest.mark.parametrize("text", ["mask.rate", "=3", " = 3", ""])
def test_an_override_without_key_or_value(text: str) -> None:
    with pytest.raises(SpecError, match=r"write KEY=VALUE, as in mask\.rate=0\.1"):
        parse_override(text)


def test_all_bad_overrides_at_once() -> None:
    with pytest.raises(SpecError) as caught:
        load_chain("demo", ["mask.rate", "seed=[", "seed=1"])
    assert len(caught.value.errors) == 2


def test_an_override_may_hold_an_equals_sign_and_any_yaml() -> None:
    assert parse_override("dataset.source=a=b") == {"dataset.source": "a=b"}
    assert parse_override("optimiser.micro_batch=") == {"optimiser.micro_batch": None}
    assert parse_override("mask={rate: 0.1}") == {"mask": {"rate": 0.1}}


def test_the_report_names_the_overrides() -> None:
    with pytest.raises(SpecError, match=r"demo\.yaml --set mask\.rte=1: 1 error"):
        load_chain("demo", ["mask.rte=1"])


def test_merge_keys_of_yaml(tmp_path: Path) -> None:
    grades = "  4: &four {optimiser: {lr: 0.001}}\n  2:\n    <<: *four\n    mask: {rate: 0.3}\n"
    text = f"layers: [6, 4, 2]\ngrades:\n{grades}"
    _, four, two = load_chain(written(tmp_path, text)).grades
    assert (four.optimiser.lr, two.optimiser.lr, two.mask.rate) == (0.001, 0.001, 0.3)
