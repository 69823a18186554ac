"""The commands of the README's chapter on clusters, as they are typed at the client of our own hosts."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path

from reference.tiny import write_graph
from reference.toy_studies import toy_overrides

from cluster.hosts import CHECKOUT, HOME, SHARED, Host

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


def graph_of_the_client(client: Host) -> None:
    """Write it, unless another test has."""
    if not client.sees(GRAPH).exists():
        write_graph(client.sees(GRAPH))


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

    def take(self, start: str, *, last: bool = False) -> str:
        """The next command, which must begin so, in our words: a reader types them as they stand.

        Args:
            last: It is the last one; those that are left before it are left out.
        """
        if last:
            del self._left[:-1]
        told = f"the README's chapter on clusters goes on with {self._left[:1]}, not with '{start}'"
        assert self._left and self._left[0].startswith(start), told
        found = self._left.pop(0)
        for written, here in HERE.items():
            found = found.replace(written, here)
        return found
