"""What a benchmark works on: graphs from `--data`, from beside the checkout or the bundled one, and an encoder."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pmd_ray.spec.chain import ChainConfig
from pmd_ray.spec.draft import build_chain
from pmd_ray.spec.errors import UserError
from pmd_ray.spec.places import Places
from pmd_ray.train.workshop import Workshop, open_workshop

BESIDE = Path(__file__).resolve().parents[2] / "shared" / "data"
"""Real graphs beside the checkout, where they are there."""
BUNDLED = "cldr"
SCRATCH = {"layers": 6, "width": 32, "heads": 4, "vocabulary": 400}
"""A toy encoder: what is measured with it says nothing, but all of the code runs within seconds."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the command line asks of a benchmark."""

    work: Path
    """A folder to write to, gone afterwards."""
    data: Path | None = None
    """A graph's folder, or a folder of graphs by name."""
    batches: tuple[int, ...] = ()
    """In place of each case's own."""
    repeat: int = 3
    small: bool = False
    """A few cases at sizes of seconds."""
    case: str = ""
    """Only cases whose name holds this."""
    encoder: str = "minilm"
    _shops: dict[str, Workshop] = field(default_factory=dict)

    @property
    def tokens(self) -> Path:
        """Where token tables are kept, for other processes too."""
        return self.work / "tokens"

    def sizes(self, full: Sequence[int], small: Sequence[int]) -> Sequence[int]:
        """The batches of a case."""
        return self.batches or (small if self.small else full)

    def wants(self, name: str) -> bool:
        """Whether a case of that name is to run."""
        return self.case in name

    def source(self, name: str) -> str:
        """Where the graph of that name is; the bundled one where it is nowhere.

        Raises:
            UserError: `--data` is no folder, or holds neither a graph nor that one.
        """
        if self.data is None:
            beside = BESIDE / name
            return str(beside) if (beside / "entities.tsv").is_file() else BUNDLED
        if (self.data / "entities.tsv").is_file():
            return str(self.data)
        if (self.data / name / "entities.tsv").is_file():
            return str(self.data / name)
        raise UserError(f"--data {self.data}: neither a graph's folder (entities.tsv) nor one that holds {name}/")

    def chain(self, graph: str, *, preset: str = "pmd_code", **settings: Any) -> ChainConfig:
        """A chain over a graph; settings are dotted keys with `__` for dots."""
        encoder: dict[str, Any] = {"name": self.encoder}
        if self.encoder == "scratch":
            encoder["scratch"] = SCRATCH
        own = {"dataset": {"source": self.source(graph)}, "encoder": encoder}
        dotted = {key.replace("__", "."): value for key, value in settings.items()}
        return build_chain([{"preset": preset}, own, dotted], source="benchmark")

    def shop(self, chain: ChainConfig) -> Workshop:
        """Its graph, encoder and texts; opened once for all cases over the same."""
        key = f"{chain.dataset.model_dump_json()} {chain.encoder.model_dump_json()}"
        if key not in self._shops:
            self._shops[key] = open_workshop(chain, Places(cache=self.tokens))
        return self._shops[key]

    def folder(self) -> Path:
        """A new folder to write to."""
        return Path(tempfile.mkdtemp(dir=self.work))
