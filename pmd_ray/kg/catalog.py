"""The datasets known by name: the bundled graphs, and those that `pmd data fetch` downloads from pinned commits."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

BUNDLED = Path(__file__).parent / "bundled"

SIMKGC = ("intfloat/SimKGC", "97cc43e488f19ca5b0f6fbf60ffefd2ee56c0693")
KG_BERT = ("yao8839836/kg-bert", "0b8f625108efcb9b43603b6840f2548ff3d3c973")
CODEX = ("tsafavi/codex", "3132e426c2a6b643b70bad679905a3a6270be440")


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where the files of a fetched dataset lie."""

    repository: str
    """On GitHub, as owner/name."""
    commit: str
    folder: str
    """The files' folder in the repository."""
    layout: str
    """How they are imported (`pmd_ray.kg.imports`)."""
    files: dict[str, str]
    """Path below `folder` to git blob id: SHA-1 of `blob <size>`, a NUL and the bytes, which verifies a download."""


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """One dataset of `pmd data list`."""

    name: str
    about: str
    licence: str
    where: Literal["bundled", "fetch"]
    entities: int
    relations: int
    train: int
    valid: int
    test: int
    origin: Origin | None = None
    """None where the dataset is bundled."""


def datasets() -> list[Dataset]:
    """All datasets known by name, the bundled ones first."""
    return [_describe(BUNDLED / name) for name in bundled_names()] + list(FETCHABLE)


def bundled_names() -> list[str]:
    """Names of the bundled graphs: the folders in `bundled` that hold one."""
    return sorted(table.parent.name for table in BUNDLED.glob("*/entities.tsv"))


def bundled_folder(name: str) -> Path:
    """Where the bundled graph `name` lies; the folder need not exist."""
    return BUNDLED / name


def fetchable_names() -> list[str]:
    """Names of the datasets that can be fetched."""
    return [dataset.name for dataset in FETCHABLE]


def nearest_name(name: str, legal: Iterable[str]) -> str:
    """As `nearest`, but blind to upper and lower case: `; did you mean 'CoDEx-S'?` for `codex-s`."""
    by_lower_case = {key.lower(): key for key in legal}
    near = get_close_matches(name.lower(), by_lower_case, n=1)
    return f"; did you mean '{by_lower_case[near[0]]}'?" if near else ""


def _describe(folder: Path) -> Dataset:
    """What the files of a bundled graph say: its size by lines, its purpose and licence by SOURCE.md."""
    note = folder / "SOURCE.md"
    lines = note.read_text(encoding="utf-8").split("\n") if note.is_file() else []
    return Dataset(
        name=folder.name,
        about=_first_text(lines, after="# "),
        licence=_first_text(lines, after="## Licence"),
        where="bundled",
        entities=_rows(folder / "entities.tsv"),
        relations=_rows(folder / "relations.tsv"),
        train=_rows(folder / "train.tsv"),
        valid=_rows(folder / "valid.tsv"),
        test=_rows(folder / "test.tsv"),
    )


def _rows(path: Path) -> int:
    return path.read_bytes().count(b"\n")


def _first_text(lines: list[str], *, after: str) -> str:
    """The first sentence below the first line that starts with `after`; "see SOURCE.md" where there is none."""
    start = next((number for number, line in enumerate(lines) if line.startswith(after)), len(lines))
    texts = (line.strip() for line in lines[start + 1 :] if line.strip() and not line.startswith("#"))
    first = next(texts, "see SOURCE.md")
    return first.split(". ")[0].removesuffix(".")


FETCHABLE: tuple[Dataset, ...] = (
    Dataset(
        name="WN18RR",
        about="WordNet 3.0 synsets with glosses (Dettmers et al. 2018), SimKGC's texts",
        licence="WordNet 3.0 licence (texts), MIT (split)",
        where="fetch",
        entities=40_943,
        relations=11,
        train=86_835,
        valid=3_034,
        test=3_134,
        origin=Origin(
            repository=SIMKGC[0],
            commit=SIMKGC[1],
            folder="data/WN18RR",
            layout="simkgc",
            files={
                "train.txt": "7c7d11ee21594d729ef90f20ecef3adf7573109d",
                "valid.txt": "ca0bf43869c6b537b667b4f284c6074078bd0013",
                "test.txt": "fbd87d236e7183fc60c9320895a714d3f4716da0",
                "wordnet-mlj12-definitions.txt": "d1b0f6aad34bdd990f29646bda4138d871c77cbc",
            },
        ),
    ),
    Dataset(
        name="FB15k-237",
        about="Freebase with full descriptions (Toutanova and Chen 2015), SimKGC's files",
        licence="CC BY 2.5 (Freebase), CC BY-SA 3.0 (descriptions, from Wikipedia)",
        where="fetch",
        entities=14_541,
        relations=237,
        train=272_115,
        valid=17_535,
        test=20_466,
        origin=Origin(
            repository=SIMKGC[0],
            commit=SIMKGC[1],
            folder="data/FB15k237",
            layout="simkgc",
            files={
                "train.txt": "bf5b69e4e34bdc72d1a15e102fd7bc66c5683c39",
                "valid.txt": "49f3b02859a2157b1ac75798694829639cbf3778",
                "test.txt": "4e7bb71d14f6238053e9233b498fb57c2a6ba323",
                "FB15k_mid2name.txt": "9d4cd4440c7982df57ede7fd53b3bba221ee8ea7",
                "FB15k_mid2description.txt": "19f934ef5e3a52977a003ec79f8cb824502f3b5b",
            },
        ),
    ),
    Dataset(
        name="UMLS",
        about="semantic network of medicine (Kok and Domingos 2007), KG-BERT's texts",
        licence="Apache-2.0 (KG-BERT); UMLS semantic network public, texts CC BY-SA (Wikipedia)",
        where="fetch",
        entities=135,
        relations=46,
        train=5_216,
        valid=652,
        test=661,
        origin=Origin(
            repository=KG_BERT[0],
            commit=KG_BERT[1],
            folder="data/umls",
            layout="kg_bert",
            files={
                "train.tsv": "e18374ce247e459b388b74378c6f185248866585",
                "dev.tsv": "34b12e146f2bac5dc5b96f8e6fdbf08e95088dcf",
                "test.tsv": "821261fdf02fe642879e64b00572b3529a1c7147",
                "entity2text.txt": "2c7629fb8597b38bed30108cb4b7d4ed4af9a838",
                "entity2textlong.txt": "31c7b9140df7c5eea289eb6f9725a53ae55b73bf",
                "relation2text.txt": "6b50696fbc1dc242ec6775c49f061b041dd22a9d",
            },
        ),
    ),
    Dataset(
        name="CoDEx-S",
        about="Wikidata with Wikipedia extracts (Safavi and Koutra 2020)",
        licence="MIT (CoDEx), CC0 (Wikidata), CC BY-SA 3.0 (extracts)",
        where="fetch",
        entities=2_034,
        relations=42,
        train=32_888,
        valid=1_827,
        test=1_828,
        origin=Origin(
            repository=CODEX[0],
            commit=CODEX[1],
            folder="data",
            layout="codex",
            files={
                "triples/codex-s/train.txt": "56aa40d8fb0229a150372cb40096e2f1b5601cef",
                "triples/codex-s/valid.txt": "d5acbd01f35758bda56d1713cc6ed18c358ce746",
                "triples/codex-s/test.txt": "e3ac6c3c5e56010b1d6d1bc8c3aad742ac453639",
                "entities/en/entities.json": "4d16d7251779deae3b264da1a43a73ed944f4932",
                "entities/en/extracts.zip": "099a76c883ae46c7a3b8f23c57dabb7d5c1f7fff",
                "relations/en/relations.json": "d305a54cfb79916d15615dfa95af9506970a4ad0",
            },
        ),
    ),
)
