"""Checking: every broken rule is reported with its file and line, all at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pmd_ray.kg.check import check_folder
from pmd_ray.kg.load import load_graph
from pmd_ray.kg.read import Rule
from pmd_ray.spec.errors import DataError

GOOD = {
    "entities.tsv": ["a\tAda\tmathematician", "b\tBabbage\tengineer", "c\tByron\tpoet", "d\tEngine\t"],
    "relations.tsv": ["knows\tknows", "child\tchild of"],
    "train.tsv": ["a\tknows\tb", "a\tchild\tc", "b\tknows\td", "d\tknows\ta"],
    "valid.tsv": ["b\tknows\ta"],
    "test.tsv": ["c\tknows\tb"],
}
Lines = dict[str, list[str]]


def write(folder: Path, lines: Lines) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for file, content in lines.items():
        (folder / file).write_bytes("".join(line + "\n" for line in content).encode("utf-8", errors="surrogateescape"))
    return folder


def found(folder: Path) -> list[tuple[str, int, Rule]]:
    return [(problem.file, problem.line, problem.rule) for problem in check_folder(folder).problems]


def copy_of(lines: Lines) -> Lines:
    return {file: list(content) for file, content in lines.items()}


def test_good_graph_has_no_problem(tmp_path: Path) -> None:
    report = check_folder(write(tmp_path, GOOD))
    assert not report.problems
    assert report.counts.entities == 4
    assert report.counts.train == 4
    assert report.counts.entities_without_description == 1


Mutation = Callable[[Lines, str, int], Rule]


def drop_column(lines: Lines, file: str, row: int) -> Rule:
    lines[file][row] = lines[file][row].rsplit("\t", 1)[0]
    return Rule.COLUMNS


def add_column(lines: Lines, file: str, row: int) -> Rule:
    lines[file][row] += "\tmore"
    return Rule.COLUMNS


def insert_blank(lines: Lines, file: str, row: int) -> Rule:
    lines[file].insert(row, "")
    return Rule.COLUMNS


def spoil_bytes(lines: Lines, file: str, row: int) -> Rule:
    lines[file][row] += "\udcff"  # surrogateescape writes it as the byte 0xff
    return Rule.ENCODING


def add_control(lines: Lines, file: str, row: int) -> Rule:
    lines[file][row] += "\u0085"
    return Rule.CONTROL


def add_line_separator(lines: Lines, file: str, row: int) -> Rule:
    lines[file][row] += "\u2028"
    return Rule.CONTROL


def add_carriage_return(lines: Lines, file: str, row: int) -> Rule:
    lines[file][row] += "\r"
    return Rule.CONTROL


def empty_id(lines: Lines, file: str, row: int) -> Rule:
    lines[file][row] = "\t" + lines[file][row].split("\t", 1)[1]
    return Rule.EMPTY


ANYWHERE: list[Mutation] = [
    drop_column,
    add_column,
    insert_blank,
    spoil_bytes,
    add_control,
    add_line_separator,
    add_carriage_return,
    empty_id,
]


def repeat_line(lines: Lines, file: str, row: int) -> Rule:
    lines[file].insert(row + 1, lines[file][row])
    return Rule.DUPLICATE_ID if file in ("entities.tsv", "relations.tsv") else Rule.DUPLICATE_TRIPLE


def blank_text(lines: Lines, file: str, row: int) -> Rule:
    cells = lines[file][row].split("\t")
    lines[file][row] = "\t".join([cells[0], " ", *cells[2:]])
    return Rule.EMPTY


def space_id(lines: Lines, file: str, row: int) -> Rule:
    lines[file][row] = " " + lines[file][row]
    return Rule.SPACE


def unknown_id(lines: Lines, file: str, row: int) -> Rule:
    cells = lines[file][row].split("\t")
    cells[row % 3] = "nobody"
    lines[file][row] = "\t".join(cells)
    return Rule.UNKNOWN_ID


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_each_mutation_is_reported_at_its_line(tmp_path: Path, data: st.DataObject) -> None:
    lines = copy_of(GOOD)
    file = data.draw(st.sampled_from(sorted(lines)), label="file")
    row = data.draw(st.integers(0, len(lines[file]) - 1), label="row")
    of_texts, of_triples = [blank_text, space_id], [unknown_id]
    special = of_texts if file in ("entities.tsv", "relations.tsv") else of_triples
    mutation = data.draw(st.sampled_from([*ANYWHERE, repeat_line, *special]), label="mutation")
    rule = mutation(lines, file, row)
    line = row + 2 if mutation is repeat_line else row + 1
    assert (file, line, rule) in found(write(tmp_path, lines))


def test_a_line_with_wrong_columns_does_not_make_its_entity_unknown(tmp_path: Path) -> None:
    lines = copy_of(GOOD)
    lines["entities.tsv"][0] = "a\tAda"
    assert found(write(tmp_path, lines)) == [("entities.tsv", 1, Rule.COLUMNS)]


@pytest.mark.parametrize("file", sorted(GOOD))
def test_missing_and_empty_files(tmp_path: Path, file: str) -> None:
    folder = write(tmp_path, GOOD)
    (folder / file).unlink()
    assert found(folder) == [(file, 0, Rule.MISSING)]
    (folder / file).write_bytes(b"")
    assert (file, 0, Rule.EMPTY) in found(folder)


@pytest.mark.parametrize(("split", "other"), [("valid", "train"), ("test", "train"), ("test", "valid")])
def test_leaks_name_both_places(tmp_path: Path, split: str, other: str) -> None:
    lines = copy_of(GOOD)
    lines[f"{split}.tsv"].append(lines[f"{other}.tsv"][0])
    (problem,) = check_folder(write(tmp_path, lines)).problems
    assert (problem.file, problem.line, problem.rule) == (f"{split}.tsv", 2, Rule.LEAK)
    assert f"{other}.tsv:1" in problem.text


def test_windows_line_ends_are_one_problem_per_file(tmp_path: Path) -> None:
    lines = copy_of(GOOD)
    lines["train.tsv"] = [line + "\r" for line in lines["train.tsv"]]
    (problem,) = check_folder(write(tmp_path, lines)).problems
    assert str(problem).startswith("train.tsv:1: Windows line ends (CRLF) from here on, 4 lines")


def test_byte_order_mark(tmp_path: Path) -> None:
    lines = copy_of(GOOD)
    lines["entities.tsv"][0] = "\ufeff" + lines["entities.tsv"][0]
    assert found(write(tmp_path, lines)) == [("entities.tsv", 1, Rule.CONTROL)]


def test_line_numbers_survive_characters_that_splitlines_breaks_at(tmp_path: Path) -> None:
    lines = copy_of(GOOD)
    lines["entities.tsv"][0] += "\x0b\x0c\x1c\u2029"
    lines["entities.tsv"][2] = "c\t\t"
    assert [(file, line) for file, line, _ in found(write(tmp_path, lines))] == [
        ("entities.tsv", 1),
        ("entities.tsv", 3),
    ]


def test_all_problems_come_in_one_error_and_every_kind_is_shown(tmp_path: Path) -> None:
    lines = copy_of(GOOD)
    lines["train.tsv"] += [f"x{number}\tknows\ta" for number in range(200)]
    lines["train.tsv"].append("a\tknows\tb")
    lines["relations.tsv"].append("mute\t")
    lines["test.tsv"].append("a\tknows")
    with pytest.raises(DataError) as raised:
        load_graph(write(tmp_path, lines))
    assert len(raised.value.errors) == 203
    shown = str(raised.value)
    for piece in (
        "train.tsv:5: unknown entity 'x0'",
        "train.tsv:205: dup",
        "relations.tsv:3:",
        "test.tsv:2: 2 columns",
    ):
        assert piece in shown


def test_warnings(tmp_path: Path) -> None:
    lines = copy_of(GOOD)
    lines["entities.tsv"] += ["e\tAda\tmathematician", "f\tFaraday\tphysicist"]
    lines["relations.tsv"].append("ally\tknows")
    lines["test.tsv"] += ["e\tally\ta", "b\tchild\ta", "c\tchild\ta"]
    counts = check_folder(write(tmp_path, lines)).counts
    assert (counts.test_cold.entities, counts.test_cold.triples, counts.test_cold.relations) == (1, 1, 1)
    assert counts.test_reversed_in_train == 1  # (c, child, a) is (a, child, c) of train turned round
    assert counts.entities_in_no_triple == 1
    assert counts.entities_sharing_all_text == 2
    assert counts.relations_sharing_text == 2
    warnings = load_graph(tmp_path).warnings
    assert "test: 1 cold entities, never seen in train (1 of 4 triples hold one)" in warnings
    assert len(warnings) == 7


def table_of(check_md: Path) -> dict[str, dict[str, str]]:
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in check_md.read_text("utf-8").strip().split("\n")
    ]
    return {row[0]: dict(zip(rows[0], row, strict=True)) for row in rows[2:]}


def test_real_graphs_are_sound_and_counted_right(shared_data: Path) -> None:
    expected = table_of(shared_data / "check.md")
    assert len(expected) >= 9
    for name, row in expected.items():
        report = check_folder(shared_data / name)
        assert not report.problems, name
        counts = report.counts
        figures = {
            "train": counts.train,
            "valid": counts.valid,
            "test": counts.test,
            "entities": counts.entities - counts.entities_in_no_triple,
            "test entities not in train": counts.test_cold.entities,
            "test triples with cold entity": counts.test_cold.triples,
            "test relations not in train": counts.test_cold.relations,
            "test same relation reversed in train": counts.test_reversed_in_train,
            "entities with shared name and description": counts.entities_sharing_all_text,
            "empty descriptions": counts.entities_without_description,
        }
        assert {key: f"{value:,}" for key, value in figures.items()} == {key: row[key] for key in figures}, name
