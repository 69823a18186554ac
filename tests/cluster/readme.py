"""The commands of the README's chapter on clusters, as they are typed at the client of our own hosts."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path

from reference.toy_studies import toy_overrides

from cluster.hosts import CHECKOUT, HOME, SHARED

FOLDER = f"{HOME}/pmd_ray/checkout"
"""Where they are typed: a copy of this checkout."""
FILE = "deploy/local.yaml"
STORAGE = f"{SHARED}/store"
"""PMD_STORAGE of `deploy/local.yaml`."""
GRAPH = f"{HOME}/graph"
"""That no node has."""
STUDY = f"""\
name: mystudy
baseline:
  layers: [2, 1]
  dataset: {{source: {GRAPH}}}
  encoder: {{name: scratch, dropout: 0.1, scratch: {{layers: 2, width: 32, heads: 4, vocabulary: 400}}}}
  mask_rates: [0.2]
  optimiser: {{epochs: 2, batch: 8, lr: 1.0e-3}}
variants:
  no_teacher: {{teacher: none, mask_rates: [0.0]}}
seeds: [0]
"""
"""Of the user's own, `mystudy.yaml`."""
TOY = [word for text in toy_overrides("quickstart", Path(GRAPH)) for word in ("--set", text)]
"""Makes the quickstart one of seconds."""
HERE: Mapping[str, str] = {
    # Own machines in place of AWS, a folder that all mount in place of a bucket, cores in place of GPUs.
    "cluster.yaml": FILE,
    "s3://BUCKET/pmd_ray": STORAGE,
    "--device cuda": "--device cpu",
    "UMLS": GRAPH,
    # Smaller, and over that graph as `pmd data push` names it.
    "pmd ablate quickstart": f"pmd ablate quickstart {shlex.join(TOY)} --set dataset.source=$(cat {HOME}/pushed)",
    # A user answers y.
    "ray up": "ray up -y",
    "ray down": "ray down -y",
}
"""What is another word here; everything else is typed as it stands."""


class Chapter:
    """The commands, in order, and which of them were typed."""

    def __init__(self) -> None:
        text = (CHECKOUT / "README.md").read_text(encoding="utf-8")
        chapter = re.split(r"^###? ", text.partition("\n### Clusters\n")[2], maxsplit=1, flags=re.M)[0]
        blocks = re.findall(r"^```\n(.*?)^```$", chapter, flags=re.M | re.S)
        self._left = [re.split(r"\s+# ", line)[0].rstrip() for block in blocks for line in block.splitlines()]

    @property
    def left(self) -> list[str]:
        """Those that nobody has typed yet, as the README has them."""
        return list(self._left)

    def take(self, start: str) -> str:
        """The first command left that begins so, in our words."""
        found = next((line for line in self._left if line.startswith(start)), None)
        assert found is not None, f"no command of the README's chapter on clusters begins with '{start}'"
        self._left.remove(found)
        for written, here in HERE.items():
            found = found.replace(written, here)
        return found
