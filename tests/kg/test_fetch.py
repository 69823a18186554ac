"""Fetching: from a local server that cuts, refuses, misdelivers and resumes; a dataset is there whole or not at all."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pmd_ray.kg.catalog import FETCHABLE, Dataset, Origin, bundled_names, datasets
from pmd_ray.kg.download import blob_id, download
from pmd_ray.kg.fetch import fetch
from pmd_ray.kg.load import load_graph
from pmd_ray.spec.errors import StorageError, UserError

FILES = {
    "entity2text.txt": b"a\tAda\nb\tBabbage\nc\tByron\n",
    "relation2text.txt": b"knows\tknows\n",
    "train.tsv": b"a\tknows\tb\nb\tknows\tc\n",
    "dev.tsv": b"c\tknows\ta\n",
    "test.tsv": b"c\tknows\tb\n",
}
BIG = bytes(range(256)) * 3000


def git_blob(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


TINY = Dataset(
    name="tiny",
    about="three people",
    licence="CC0",
    where="fetch",
    entities=3,
    relations=1,
    train=2,
    valid=1,
    test=1,
    origin=Origin(
        repository="who/where",
        commit="c0ffee",
        folder="data/tiny",
        layout="kg_bert",
        files={file: git_blob(content) for file, content in FILES.items()},
    ),
)


@dataclass
class Site:
    """A server on this machine, and how it shall misbehave."""

    url: str = ""
    content: dict[str, bytes] = field(default_factory=dict)
    ranges: bool = True
    cut_after: list[int] = field(default_factory=list)
    """One number for each answer to come: so many bytes are sent before the connection closes."""
    answers: list[int] = field(default_factory=list)
    """Statuses to answer with, before it serves."""
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    """Path and Range header of each request."""


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    site = Site(content={f"/who/where/c0ffee/data/tiny/{file}": content for file, content in FILES.items()})
    site.content["/big"] = BIG

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            site.asked.append((self.path, wanted))
            if site.answers:
                self.send_error(site.answers.pop(0))
                return
            body = site.content.get(self.path)
            if body is None:
                self.send_error(404)
                return
            start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and site.ranges else 0
            if start and start >= len(body):
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            self.send_header("Content-Length", str(len(body) - start))
            self.end_headers()
            sent = site.cut_after.pop(0) if site.cut_after else len(body)
            self.wfile.write(body[start : start + sent])

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    site.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield site
    server.shutdown()
    server.server_close()
    thread.join()


def get(site: Site, path: Path, content: bytes = BIG) -> None:
    download(f"{site.url}/big", path, blob=git_blob(content), pause=0.0)


def names_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_fetch_imports_and_writes(site: Site, tmp_path: Path) -> None:
    told: list[tuple[str, int, int | None]] = []
    folder = fetch(TINY, home=tmp_path, base_url=site.url, progress=lambda *news: told.append(news), pause=0.0)
    assert folder == tmp_path / "tiny"
    graph = load_graph("tiny", home=tmp_path)
    assert graph.entity_names == ("Ada", "Babbage", "Byron")
    assert ("train.tsv", 20, 20) in told
    assert "c0ffee" in (folder / "SOURCE.md").read_text()
    assert len(site.asked) == len(FILES)
    fetch(TINY, home=tmp_path, base_url=site.url, pause=0.0)
    assert len(site.asked) == len(FILES), "what is there is not fetched again"
    assert [name for name in names_in(tmp_path) if "tiny/" not in name] == [".downloads/tiny.lock"]


def test_blob_id_is_gits(tmp_path: Path) -> None:
    (tmp_path / "hello").write_bytes(b"hello\n")
    assert blob_id(tmp_path / "hello") == "ce013625030ba8dba906f756967f9e9ca394464a"  # git hash-object


def test_a_cut_connection_is_resumed(site: Site, tmp_path: Path) -> None:
    site.cut_after = [100_000, 200_000]
    get(site, tmp_path / "big")
    assert (tmp_path / "big").read_bytes() == BIG
    assert [wanted for _, wanted in site.asked] == [None, "bytes=100000-", "bytes=300000-"]
    assert names_in(tmp_path) == ["big"]


def test_a_later_call_resumes(site: Site, tmp_path: Path) -> None:
    site.cut_after = [100_000, 0, 0, 0]
    with pytest.raises(UserError, match="goes on where it stopped"):
        get(site, tmp_path / "big")
    assert (tmp_path / "big.part").stat().st_size == 100_000
    get(site, tmp_path / "big")
    assert (tmp_path / "big").read_bytes() == BIG
    assert site.asked[-1] == ("/big", "bytes=100000-")


def test_a_server_without_ranges_starts_over(site: Site, tmp_path: Path) -> None:
    site.ranges = False
    site.cut_after = [100_000]
    get(site, tmp_path / "big")
    assert (tmp_path / "big").read_bytes() == BIG


@pytest.mark.parametrize("left", [b"something else", BIG + b"more", BIG, BIG[:-1] + b"?"])
def test_leftovers_never_spoil_the_file(site: Site, tmp_path: Path, left: bytes) -> None:
    (tmp_path / "big.part").write_bytes(left)
    get(site, tmp_path / "big")
    assert (tmp_path / "big").read_bytes() == BIG
    assert len(site.asked) == (0 if left == BIG else 2)


def test_wrong_content_is_a_checksum_error(site: Site, tmp_path: Path) -> None:
    site.content["/who/where/c0ffee/data/tiny/dev.tsv"] = b"b\tknows\ta\n"
    with pytest.raises(UserError, match=r"checksum of .*dev\.tsv"):
        fetch(TINY, home=tmp_path, base_url=site.url, pause=0.0)
    assert not (tmp_path / "tiny").exists()
    assert not any(name.endswith(".part") for name in names_in(tmp_path))


def test_a_busy_server_is_asked_again(site: Site, tmp_path: Path) -> None:
    site.answers = [503, 429]
    get(site, tmp_path / "big")
    assert (tmp_path / "big").read_bytes() == BIG


def test_a_missing_file_is_not_asked_for_again(site: Site, tmp_path: Path) -> None:
    del site.content["/big"]
    with pytest.raises(UserError, match="404"):
        get(site, tmp_path / "big")
    assert len(site.asked) == 1


def test_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with pytest.raises(UserError, match="check the network"):
        fetch(TINY, home=tmp_path, base_url="http://127.0.0.1:9", pause=0.0)
    assert not (tmp_path / "tiny").exists()


def test_another_size_than_published_is_refused(site: Site, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="published"):
        fetch(replace(TINY, train=3), home=tmp_path, base_url=site.url, pause=0.0)
    assert not (tmp_path / "tiny").exists()


def test_a_home_that_cannot_be(site: Site, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="choose another"):
        fetch(TINY, home=tmp_path / "file", base_url=site.url, pause=0.0)


def test_unknown_and_bundled_names(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'CoDEx-S'"):
        fetch("codex", home=tmp_path)
    with pytest.raises(UserError, match="bundled"):
        fetch(replace(TINY, origin=None), home=tmp_path)


def test_catalog_is_well_formed() -> None:
    assert [dataset.name for dataset in FETCHABLE] == ["WN18RR", "FB15k-237", "UMLS", "CoDEx-S"]
    listed = datasets()
    assert len({dataset.name for dataset in listed}) == len(listed) == len(FETCHABLE) + len(bundled_names())
    for dataset in listed:
        assert dataset.about and dataset.licence
        assert dataset.where == ("fetch" if dataset.origin else "bundled")
        if dataset.origin:
            assert len(dataset.origin.commit) == 40
            assert all(len(blob) == 40 and int(blob, 16) for blob in dataset.origin.files.values())


def test_bundled_graphs_load_by_name_and_count_right() -> None:
    assert "cldr" in bundled_names()
    for dataset in datasets():
        if dataset.where == "bundled":
            graph = load_graph(dataset.name)
            sizes = (graph.num_entities, graph.num_relations, len(graph.train), len(graph.valid), len(graph.test))
            assert sizes == (dataset.entities, dataset.relations, dataset.train, dataset.valid, dataset.test)


def test_blobs_of_real_copies(shared_data: Path) -> None:
    """The pinned ids are those of files at hand: WN18RR's and UMLS's splits are the originals, byte for byte."""
    origins = {dataset.name: dataset.origin for dataset in FETCHABLE}
    for name, valid in (("WN18RR", "valid.txt"), ("UMLS", "dev.tsv"), ("CoDEx-S", "triples/codex-s/valid.txt")):
        origin = origins[name]
        assert origin is not None
        assert blob_id(shared_data / name / "valid.tsv") == origin.files[valid]
        for split in ("train", "test"):
            assert blob_id(shared_data / name / f"{split}.tsv") in origin.files.values()
