"""Builds the bundled knowledge graph from Unicode CLDR, as the Babel package carries it (see `cldr_graph/`).

python scripts/build_cldr_graph.py pmd_ray/kg/bundled/cldr    # writes the six files
python scripts/build_cldr_graph.py FOLDER --baseline          # scores the shallow baselines on a built folder
python scripts/build_cldr_graph.py FOLDER --show 20           # prints random entities and triples of a built folder
"""

from __future__ import annotations

import argparse
from pathlib import Path

from cldr_graph.baseline import baseline
from cldr_graph.folder import build, show


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, help="where the six files are written (or read from)")
    parser.add_argument("--baseline", action="store_true", help="score the shallow baselines on a built folder")
    parser.add_argument("--show", type=int, metavar="N", help="print N random entities and triples of a built folder")
    options = parser.parse_args()
    if options.baseline:
        for name, score in baseline(options.folder).items():
            print(f"{name:24}{score:.4f}")
    elif options.show:
        show(options.folder, options.show)
    else:
        build(options.folder)


if __name__ == "__main__":
    main()
