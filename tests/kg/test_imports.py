"""Importing: each foreign layout gives the texts its own project gives, and its problems name the foreign lines."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from pmd_ray.kg.graph import SPLITS, Graph
from pmd_ray.kg.imports import import_graph, layouts
from pmd_ray.kg.imports.codex import EXTRACTS
from pmd_ray.kg.imports.simkgc import freebase_description, freebase_relation, wordnet_name
from pmd_ray.kg.load import load_graph
from pmd_ray.kg.write import same_content, write_graph
from pmd_ray.spec.errors import DataError, UserError


def write(folder: Path, files: dict[str, str]) -> Path:
    for file, content in files.items():
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode("utf-8"))
    return folder


def named_triples(graph: Graph) -> dict[str, list[tuple[str, str, str]]]:
    entity, relation = graph.entity_ids, graph.relation_ids
    return {s: [(entity[h], relation[r], entity[t]) for h, r, t in graph.triples(s).tolist()] for s in SPLITS}


WORDNET = {
    "wordnet-mlj12-definitions.txt": (
        '01\t__hot_dog_NN_1\ta sausage; "eat a hot dog"\n02\t__run_VB_12\tmove fast\n03\t__sausage_NN_1\tminced meat\n'
    ),
    "train.txt": "01\t_hypernym\t03\n01\t_derivationally_related_form\t02\n",
    "valid.txt": "03\t_hypernym\t02\n",
    "test.txt": "02\t_hypernym\t03\n",
}
FREEBASE = {
    "FB15k_mid2name.txt": "/m/1\tChicago_Cubs\r\n/m/2\tActor-GB\r\n/m/3\tIron\r\n/m/9\tNot_in_FB15k-237\r\n",
    "FB15k_mid2description.txt": (
        '/m/1\t"The \\"Lovable Losers\\" play.\\nIn Chicago."@en\n/m/2\t"An actor acts."@en\n/m/9\t"Gone."@en\n'
    ),
    "train.txt": "/m/1\t/sports/team/roster./sports/roster/position\t/m/2\r\n/m/2\t/film/film/genre\t/m/3\r\n",
    "valid.txt": "/m/3\t/film/film/genre\t/m/1\r\n",
    "test.txt": "/m/3\t/film/film/genre\t/m/2\r\n",
}
KG_BERT = {
    "entity2text.txt": "idea\tidea or concept\nvirus\tvirus\nalga\talga",
    "entity2textlong.txt": "virus\tA small agent. \nidea\tA thought.",
    "relation2text.txt": "isa\tis a\nco-occurs_with\tco-occurs with\nunused\tnever",
    "train.tsv": "alga\tisa\tidea\nvirus\tco-occurs_with\talga\nalga\tisa\tidea\n",
    "dev.tsv": "virus\tisa\tidea\n",
    "test.tsv": "idea\tisa\tvirus\n",
}


def codex_folder(folder: Path) -> Path:
    entities = {
        "Q9": {"label": "elsewhere", "description": "in another size", "wiki": ""},
        "Q3": {"label": "Q three", "description": "", "wiki": ""},
        "Q1": {"label": "Euler", "description": "Swiss mathematician", "wiki": ""},
        "Q2": {"label": "German", "description": "a\tlanguage", "wiki": ""},
    }
    relations = {"P8": {"label": "unused", "description": ""}, "P1": {"label": "speaks", "description": "..."}}
    triples = {"train": "Q1\tP1\tQ2\nQ2\tP1\tQ3\n", "valid": "Q1\tP1\tQ3\n", "test": "Q3\tP1\tQ1\n"}
    write(
        folder,
        {
            "entities/en/entities.json": json.dumps(entities),
            "relations/en/relations.json": json.dumps(relations),
            **{f"triples/codex-s/{split}.txt": content for split, content in triples.items()},
        },
    )
    with zipfile.ZipFile(folder / EXTRACTS, "w") as archive:
        archive.writestr("extracts/Q1.txt", "Leonhard Euler\n\nwas Swiss.\n")
        archive.writestr("extracts/Q3.txt", "Only an extract.")
        archive.writestr("__MACOSX/extracts/._Q2.txt", b"\xff\x00")
    return folder


def test_layouts_are_the_files_of_the_folder() -> None:
    assert layouts() == ("codex", "kg_bert", "simkgc")


def test_simkgc_wordnet(tmp_path: Path) -> None:
    graph = import_graph("simkgc", write(tmp_path, WORDNET), name="wn")
    assert graph.entity_ids == ("01", "02", "03")
    assert graph.entity_names == ("hot dog", "run", "sausage")
    assert graph.entity_descriptions[0] == 'a sausage; "eat a hot dog"'
    assert graph.relation_texts == ("hypernym", "derivationally related form")
    assert graph.name == "wn"


def test_simkgc_freebase(tmp_path: Path) -> None:
    graph = import_graph("simkgc", write(tmp_path, FREEBASE), name="fb")
    assert graph.entity_names == ("Chicago Cubs", "Actor-GB", "Iron")
    assert graph.entity_descriptions == ('The "Lovable Losers" play. In Chicago.', "An actor acts.", "")
    assert graph.relation_texts == ("position roster team sports", "genre film")
    assert "FB15k_mid2name.txt: 1 entities of no triple were dropped" in graph.warnings


def test_kg_bert(tmp_path: Path) -> None:
    graph = import_graph("kg_bert", write(tmp_path, KG_BERT), name="umls")
    assert graph.entity_names == ("idea or concept", "virus", "alga")
    assert graph.entity_descriptions == ("A thought.", "A small agent.", "")
    assert graph.relation_ids == ("isa", "co-occurs_with")
    assert len(graph.train) == 2
    assert "train.tsv: 1 repeated lines were dropped" in graph.warnings
    (tmp_path / "entity2textlong.txt").unlink()
    assert import_graph("kg_bert", tmp_path, name="umls").entity_descriptions == ("", "", "")


@pytest.mark.parametrize("below", ["", "triples/codex-s"])
def test_codex(tmp_path: Path, below: str) -> None:
    graph = import_graph("codex", codex_folder(tmp_path) / below, name="codex")
    assert graph.entity_ids == ("Q1", "Q2", "Q3")
    assert graph.entity_names == ("Euler", "German", "Q three")
    assert graph.entity_descriptions == (
        "Swiss mathematician. Leonhard Euler was Swiss.",
        "a language",
        "Only an extract.",
    )
    assert (graph.relation_ids, graph.relation_texts) == (("P1",), ("speaks",))


def test_problems_name_the_foreign_lines(tmp_path: Path) -> None:
    folder = write(tmp_path, WORDNET)
    with (folder / "train.txt").open("a") as file:
        file.write("01\t_hypernym\n99\t_hypernym\t01\n03\t_hypernym\t02\n")
    with (folder / "wordnet-mlj12-definitions.txt").open("a") as file:
        file.write("04\tword\tno part of speech, so no name\n")
    (folder / "test.txt").write_text("04\t_hypernym\t01\n04\t_\t03\n")
    with pytest.raises(DataError) as raised:
        import_graph("simkgc", folder, name="wn")
    places = [error.split(": ")[0] for error in raised.value.errors]
    assert places == [
        "wordnet-mlj12-definitions.txt:4",  # a word without part of speech: no name
        "train.txt, valid.txt, test.txt",  # relation `_` has no text
        "train.txt:3",  # two columns
        "train.txt:4",  # entity 99
        "valid.txt:1",  # stands in train, too
    ]


def test_problems_of_codex(tmp_path: Path) -> None:
    folder = codex_folder(tmp_path)
    (folder / "relations/en/relations.json").write_text('{"P1": {"label": null}}')
    (folder / EXTRACTS).write_bytes(b"no zip")
    with (folder / "triples/codex-s/train.txt").open("a") as file:
        file.write("Q1\tP1\tQ77\n")
    with pytest.raises(DataError) as raised:
        import_graph("codex", folder, name="codex")
    shown = str(raised.value)
    assert "relation 'P1' has an empty text" in shown
    assert "extracts.zip: not a readable zip" in shown


def test_missing_files_are_all_named(tmp_path: Path) -> None:
    for layout, count in (("simkgc", 4), ("kg_bert", 5), ("codex", 6)):
        with pytest.raises(DataError) as raised:
            import_graph(layout, tmp_path, name="none")
        assert len(raised.value.errors) == count, raised.value.errors


def test_unknown_layout_and_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'simkgc'"):
        import_graph("simkg", tmp_path, name="x")
    with pytest.raises(UserError, match="not a folder"):
        import_graph("simkgc", tmp_path / "none", name="x")


def test_wordnet_name() -> None:
    assert wordnet_name("__family_alcidae_NN_1") == "family alcidae"
    assert wordnet_name("__'hood_NN_1") == "'hood"


def test_freebase_relation_equals_the_canonical_copy(shared_data: Path) -> None:
    graph = load_graph(shared_data / "FB15k-237")
    assert tuple(map(freebase_relation, graph.relation_ids)) == graph.relation_texts


def test_freebase_description() -> None:
    assert freebase_description("plain text") == "plain text"
    assert freebase_description('"cut off \\') == '"cut off'
    assert freebase_description('"a\\nb\\t\\"c\\""@en') == 'a b "c"'


@pytest.mark.parametrize("name", ["WN18RR_v1", "WN18RR"])
def test_wordnet_comes_back_from_its_simkgc_layout(shared_data: Path, tmp_path: Path, name: str) -> None:
    graph = load_graph(shared_data / name)
    rows = zip(graph.entity_ids, graph.entity_names, graph.entity_descriptions, strict=True)
    words = "".join(f"{i}\t__{lemma.replace(' ', '_')}_NN_1\t{gloss}\n" for i, lemma, gloss in rows)
    splits = {f"{s}.txt": "".join("\t".join(t) + "\n" for t in named) for s, named in named_triples(graph).items()}
    back = import_graph("simkgc", write(tmp_path, {"wordnet-mlj12-definitions.txt": words, **splits}), name=name)
    assert (back.entity_ids, back.entity_names) == (graph.entity_ids, graph.entity_names)
    assert back.entity_descriptions == graph.entity_descriptions
    texts = dict(zip(graph.relation_ids, graph.relation_texts, strict=True))
    assert dict(zip(back.relation_ids, back.relation_texts, strict=True)) == texts
    assert named_triples(back) == named_triples(graph)


def test_umls_comes_back_from_its_kg_bert_layout(shared_data: Path, tmp_path: Path) -> None:
    graph = load_graph(shared_data / "UMLS")
    splits = {s: "".join("\t".join(t) + "\n" for t in named) for s, named in named_triples(graph).items()}
    files = {"train.tsv": splits["train"], "dev.tsv": splits["valid"], "test.tsv": splits["test"]}
    columns = {
        "entity2text.txt": (graph.entity_ids, graph.entity_names),
        "entity2textlong.txt": (graph.entity_ids, graph.entity_descriptions),
        "relation2text.txt": (graph.relation_ids, graph.relation_texts),
    }
    for file, (identities, content) in columns.items():
        files[file] = "\n".join(f"{i}\t{text}" for i, text in zip(identities, content, strict=True))
    back = import_graph("kg_bert", write(tmp_path, files), name="UMLS")
    assert same_content(back, graph)
    assert back.fingerprint == graph.fingerprint


def test_an_imported_graph_can_be_written(tmp_path: Path) -> None:
    graph = import_graph("codex", codex_folder(tmp_path / "from"), name="codex")
    write_graph(graph, tmp_path / "to", "# codex")
    assert load_graph(tmp_path / "to").fingerprint == graph.fingerprint


def test_a_repeated_entity_is_dropped_and_a_contradicted_one_is_a_problem(tmp_path: Path) -> None:
    folder = write(tmp_path, FREEBASE)
    names = folder / "FB15k_mid2name.txt"
    names.write_bytes(names.read_bytes() + b"/m/3\tIron\r\n")
    assert f"{names.name}: 1 repeated lines were dropped" in import_graph("simkgc", folder, name="fb").warnings
    names.write_bytes(names.read_bytes() + b"/m/3\tGold\r\n")
    with pytest.raises(DataError, match=r"FB15k_mid2name\.txt:6: duplicate entity id '/m/3', first on line 3"):
        import_graph("simkgc", folder, name="fb")
