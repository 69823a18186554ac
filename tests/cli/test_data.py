"""`pmd data`: each verb on good and on bad input; with --json, standard output is one object."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from pmd_ray.kg.catalog import Dataset, Origin
from pmd_ray.kg.load import load_graph

pytestmark = pytest.mark.whole

GRAPH = {
    "entities.tsv": "a\tAda [bold]\tfirst [MASK] [/x]\nb\tBabbage\t\nc\tTwin\tone\nd\ttwin\tother\n",
    "relations.tsv": "knows\tknows [red]\nlikes\tlikes\n",
    "train.tsv": "a\tknows\tb\nb\tknows\tc\nc\tlikes\td\n",
    "valid.tsv": "c\tknows\ta\n",
    "test.tsv": "c\tknows\tb\nd\tlikes\ta\n",
}
KG_BERT = {
    "entity2text.txt": "a\tAda\nb\tBabbage\nc\tByron\n",
    "relation2text.txt": "knows\tknows\n",
    "train.tsv": "a\tknows\tb\nb\tknows\tc\n",
    "dev.tsv": "c\tknows\ta\n",
    "test.tsv": "c\tknows\tb\n",
}
Pmd = Callable[..., Any]


def written(folder: Path, files: dict[str, str]) -> Path:
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data home, by environment variable."""
    monkeypatch.setenv("PMD_DATA_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    return written(tmp_path / "graph", GRAPH)


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A mirror on this machine with one dataset, `tiny`, which the catalogue knows."""
    written(tmp_path / "site" / "who" / "where" / "c0ffee" / "tiny", KG_BERT)
    blobs = {
        file: hashlib.sha1(b"blob %d\0" % len(text.encode()) + text.encode()).hexdigest()
        for file, text in KG_BERT.items()
    }
    origin = Origin(repository="who/where", commit="c0ffee", folder="tiny", layout="kg_bert", files=blobs)
    sizes = {"entities": 3, "relations": 1, "train": 2, "valid": 1, "test": 1}
    tiny = Dataset(name="tiny", about="three people", licence="CC0", where="fetch", origin=origin, **sizes)
    monkeypatch.setattr("pmd_ray.kg.catalog.FETCHABLE", (tiny,))
    monkeypatch.setattr("pmd_ray.kg.fetch.FETCHABLE", (tiny,))
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    with Serving(partial(Quiet, directory=str(tmp_path / "site"))) as url:
        yield url


class Serving:
    """Serve with a handler on a free port of this machine, as long as the block runs."""

    def __init__(self, handler: Callable[..., BaseHTTPRequestHandler]) -> None:
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)

    def __enter__(self) -> str:
        self.thread.start()
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def test_list_tells_what_is_there(pmd: Pmd, home: Path) -> None:
    written(home / "UMLS", GRAPH)
    written(home / "mine", GRAPH)
    done = pmd("data", "list", "--json")
    states = {row["name"]: row["state"] for row in done.json["datasets"]}
    assert states == {
        "cldr": "bundled",
        "UMLS": "fetched",
        "WN18RR": "to fetch",
        "FB15k-237": "to fetch",
        "CoDEx-S": "to fetch",
    }
    assert done.json["others"] == ["mine"]
    assert (done.code, done.err) == (0, "")
    plain = pmd("data", "list")
    assert {line.split()[0] for line in plain.out.splitlines() if line} >= {"name", *states, "also", "get"}
    assert f"also in {home}: mine" in plain.out


def test_the_option_comes_before_the_environment(pmd: Pmd, home: Path, tmp_path: Path) -> None:
    written(tmp_path / "elsewhere" / "mine", GRAPH)
    assert pmd("data", "list", "--json", "--home", tmp_path / "elsewhere").json["others"] == ["mine"]
    assert pmd("data", "show", "mine", "--home", tmp_path / "elsewhere").code == 0
    assert pmd("data", "show", "mine").code == 2


def test_check_of_a_sound_graph(pmd: Pmd, graph: Path) -> None:
    done = pmd("data", "check", graph)
    assert done.code == 0
    sizes = "4 entities, 2 relations; 3 train, 1 valid, 2 test triples"
    assert done.out == f"{graph}: no problem, 2 warnings; {sizes}\n"
    assert "warning: 1 of 4 entities have no description\n" in done.err
    assert "warning: test: 1 of 2 triples stand reversed" in done.err
    told = pmd("data", "check", graph, "--json")
    assert told.code == 0
    assert told.json["problems"] == []
    assert "1 of 4 entities have no description" in told.json["warnings"]
    assert told.json["counts"]["test"] == 2


def test_check_of_a_bundled_graph(pmd: Pmd) -> None:
    assert pmd("data", "check", "cldr").code == 0


BREAKS = {
    "wrong column count": ("train.tsv", b"a\tknows\n", "train.tsv:4: 2 columns instead of 3"),
    "unknown id": ("train.tsv", b"a\tknows\tnobody\n", "unknown entity 'nobody'"),
    "duplicate id": ("entities.tsv", b"a\tagain\t\n", "duplicate entity id 'a'"),
    "duplicate triple": ("train.tsv", b"a\tknows\tb\n", "duplicate triple"),
    "leak": ("train.tsv", b"c\tknows\tb\n", "leak"),
    "empty name": ("entities.tsv", b"e\t\tno name\n", "empty name"),
    "bad UTF-8": ("entities.tsv", b"e\t\xff\t\n", "not UTF-8"),
    "control character": ("entities.tsv", b"e\tE\x1b[31m\t\n", "U+001B"),
    "no text of a relation": ("relations.tsv", b"hates\t\n", "empty text"),
}


@pytest.mark.parametrize("kind", BREAKS)
def test_check_of_each_kind_of_broken_graph(pmd: Pmd, graph: Path, kind: str) -> None:
    file, line, message = BREAKS[kind]
    with (graph / file).open("ab") as table:
        table.write(line)
    done = pmd("data", "check", graph)
    assert done.code == 2
    assert message in done.out
    assert "\x1b" not in done.out + done.err
    assert done.err.splitlines()[-1].startswith(f"error: {graph}: 1 problem")
    told = pmd("data", "check", graph, "--json")
    assert told.code == 2
    assert len(told.json["problems"]) == 1
    assert told.json["problems"][0]["line"] > 0


def test_check_lists_all_problems_at_once(pmd: Pmd, graph: Path) -> None:
    with (graph / "train.tsv").open("a") as table:
        table.writelines(f"a\tknows\tnobody {number} \x07\n" for number in range(120))
    (graph / "test.tsv").write_text("")
    (graph / "valid.tsv").unlink()
    done = pmd("data", "check", graph)
    assert done.code == 2
    assert done.out.count("unknown entity") == 120  # no "and 70 more" here
    assert "the test split is empty" in done.out
    assert "valid.tsv: missing" in done.out
    assert "\x07" not in done.out
    assert len(pmd("data", "check", graph, "--json").json["problems"]) == len(done.out.splitlines())


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("no/such/folder", "there is no folder no/such/folder"),
        ("cldrr", "did you mean 'cldr'?"),
        ("WN18RR", "fetch it with: pmd data fetch WN18RR"),
    ],
)
@pytest.mark.parametrize("verb", ["check", "show"])
def test_a_graph_that_is_not_there(pmd: Pmd, verb: str, source: str, message: str) -> None:
    done = pmd("data", verb, source, "--json")
    assert (done.code, done.out) == (2, "")
    assert message in done.err


@pytest.mark.parametrize("verb", ["check", "show"])
@pytest.mark.parametrize("source", ["", "x" * 300, "a\x1b[31m/b"])
def test_a_graph_with_an_odd_name(
    pmd: Pmd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str, source: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = pmd("data", verb, source)
    assert done.code in (1, 2)
    assert "error: " in done.err
    assert "bug" not in done.err
    assert "\x1b" not in done.err


def test_show_a_graph(pmd: Pmd, graph: Path) -> None:
    done = pmd("data", "show", graph)
    assert done.code == 0
    assert "graph: 4 entities, 2 relations; triples: 3 train, 1 valid, 2 test" in done.out
    assert "Ada [bold]" in done.out
    assert "knows [red]" in done.out
    assert "no description" in done.err
    told = pmd("data", "show", graph, "--json", "--triples", 2).json
    assert told["relations"][0] == {"id": "knows", "text": "knows [red]", "train": 2, "valid": 1, "test": 1}
    assert [triple["head"] for triple in told["sample"]] == ["a", "c"]
    assert told["fingerprint"] == load_graph(graph).fingerprint
    assert pmd("data", "show", graph, "--json", "--triples", 0).json["sample"] == []


def test_show_an_entity(pmd: Pmd, graph: Path) -> None:
    done = pmd("data", "show", graph, "ada [BOLD]", "--triples", 2)
    assert done.code == 0
    assert done.out.startswith("Ada [bold] (a)\nfirst [MASK] [/x]\n")
    assert "... and 1 more triples" in done.out
    told = pmd("data", "show", graph, "a", "--json").json
    assert (told["id"], told["num_triples"]) == ("a", 3)
    assert [triple["split"] for triple in told["triples"]] == ["train", "valid", "test"]
    assert told["triples"][1]["head_name"] == "Twin"


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("Babage", "no entity of graph has the id or name 'Babage'; did you mean 'Babbage'?"),
        ("TWIN", "2 entities of graph are named 'TWIN'; give one by its id: c, d"),
        ("", "no entity of graph has the id or name ''"),
    ],
)
def test_show_an_entity_that_is_not_clear(pmd: Pmd, graph: Path, asked: str, message: str) -> None:
    done = pmd("data", "show", graph, asked)
    assert (done.code, done.out) == (2, "")
    assert message in done.err


def test_show_of_a_broken_graph_lists_its_problems(pmd: Pmd, graph: Path) -> None:
    (graph / "test.tsv").write_text("a\tknows\tnobody\n")
    done = pmd("data", "show", graph)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"error: {graph}: 1 error\n  test.tsv:1: unknown entity 'nobody'")


def test_fetch_from_a_mirror(pmd: Pmd, served: str, home: Path) -> None:
    done = pmd("data", "fetch", "tiny", "--base-url", served, "--json")
    assert done.code == 0
    assert done.json == {"name": "tiny", "folder": str(home / "tiny")}
    assert "train.tsv: 0.0 kB of 0.0 kB" in done.err
    assert load_graph(home / "tiny").num_entities == 3
    again = pmd("data", "fetch", "tiny", "--base-url", "http://127.0.0.1:9")  # there already: nothing is asked for
    assert (again.code, again.out) == (0, f"tiny is in {home / 'tiny'}; use it by its name\n")
    assert pmd("data", "show", "tiny").code == 0


@pytest.mark.parametrize(
    ("name", "url", "message"),
    [
        ("tinny", "", "no dataset 'tinny' to fetch; did you mean 'tiny'?"),
        ("cldr", "", "no dataset 'cldr' to fetch"),
        ("tiny", "/nowhere", "404"),
        ("tiny", "no address", "--base-url 'no address' is not a web address"),
        ("tiny", "file:///etc", "--base-url 'file:///etc' is not a web address"),
    ],
)
def test_fetch_that_cannot_be(pmd: Pmd, served: str, home: Path, name: str, url: str, message: str) -> None:
    done = pmd("data", "fetch", name, "--base-url", served + url if url.startswith("/") or not url else url)
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert not (home / name).exists()


def test_fetch_to_a_place_that_cannot_be_written(pmd: Pmd, served: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = pmd("data", "fetch", "tiny", "--base-url", served, "--home", tmp_path / "file")
    assert (done.code, done.out) == (2, "")
    assert f"error: {tmp_path / 'file'} cannot hold datasets" in done.err


def test_ctrl_c_while_fetching_stops_cleanly(home: Path) -> None:
    asked, leave = threading.Event(), threading.Event()

    class Hanging(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"a" * 100)
            self.wfile.flush()
            asked.set()
            leave.wait(60)

        def log_message(self, format: str, *args: object) -> None:
            pass

    code = "from pmd_ray.cli.main import run; run()"
    with Serving(Hanging) as url:
        command = [sys.executable, "-c", code, "data", "fetch", "UMLS", "--base-url", url]
        environment = {**os.environ, "no_proxy": "127.0.0.1"}
        process = subprocess.Popen(command, stdout=-1, stderr=-1, text=True, env=environment)
        assert asked.wait(60)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        leave.set()
    assert (process.returncode, out) == (130, "")
    assert err.splitlines()[-1] == "stopped: interrupted; the same command goes on where it stopped"
    assert "Traceback" not in err
    assert not (home / "UMLS").exists()


def test_import_a_foreign_layout(pmd: Pmd, tmp_path: Path) -> None:
    foreign = written(tmp_path / "foreign", KG_BERT)
    done = pmd("data", "import", "kg_bert", foreign, tmp_path / "ours", "--json")
    assert done.code == 0
    assert done.json | {"warnings": []} == {
        "name": "ours",
        "folder": str(tmp_path / "ours"),
        "entities": 3,
        "relations": 1,
        "train": 2,
        "valid": 1,
        "test": 1,
        "warnings": [],
    }
    note = (tmp_path / "ours" / "SOURCE.md").read_text()
    assert note.startswith("# ours\n\nImported from `foreign`, layout `kg_bert`")
    assert str(tmp_path) not in note
    assert pmd("data", "check", tmp_path / "ours").code == 0
    assert pmd("data", "import", "kg_bert", foreign, tmp_path / "b", "--name", "B").out.startswith("B is in ")


def test_imports_that_cannot_be(pmd: Pmd, tmp_path: Path) -> None:
    foreign, out = written(tmp_path / "foreign", KG_BERT), tmp_path / "out"
    full = written(tmp_path / "full", {"a": "b"})
    broken = written(tmp_path / "broken", KG_BERT | {"train.tsv": "a\tknows\tnobody\n"})
    cases: list[tuple[list[object], str]] = [
        (["kgbert", foreign, out], "unknown layout 'kgbert'; did you mean 'kg_bert'?"),
        (["kg_bert", tmp_path / "absent", out], "is not a folder"),
        (["kg_bert", broken, out], "train.tsv:1: unknown entity 'nobody'"),
        (["codex", foreign, out], "missing"),
        (["kg_bert", foreign, full], "exists and is not empty"),
        (["kg_bert", foreign, out, "--name", "a\nb"], "--name 'a\\nb' is no name"),
    ]
    for arguments, message in cases:
        done = pmd("data", "import", *arguments, "--json")
        assert (done.code, done.out) == (2, ""), arguments
        assert message in done.err
        assert not out.exists()
