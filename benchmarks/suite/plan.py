"""`pmd plan` as it is typed: a fresh process from its start to its end, imports included.

Nothing of the kind is in the released code. The limit is Python starting and ending with numpy.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.clock import Phases, interleaved
from benchmarks.inputs import BUNDLED, Asked
from benchmarks.record import Case

ROOT = Path(__file__).resolve().parents[2]


def cases(asked: Asked) -> Iterator[Case]:
    """The shipped quickstarts over the bundled graph, and a factorial over a large one."""
    large = f"--set dataset.source={asked.source('WN18RR')} --set encoder.name=minilm --set layers=[6,6,4]".split()
    files: dict[str, list[str]] = {"quickstart": []}
    if not asked.small:
        files |= {"search_spaces/quickstart": [], "mgfd_factorial": large}
    for file, overrides in files.items():
        if asked.wants(f"plan: {file}"):
            yield one(file, overrides, asked)


def one(file: str, overrides: list[str], asked: Asked) -> Case:
    """One plan over a store that is empty."""
    walls: list[float] = []
    command = ["-m", "pmd_ray", "plan", file, "--json", "--storage", str(asked.folder()), *overrides]

    def ours(number: int) -> Phases:
        begun = time.perf_counter()
        spent = _spent(command)
        walls.append(time.perf_counter() - begun)
        return {"all": spent}

    def bare(number: int) -> Phases:
        return {"all": _spent(["-c", "import numpy"])}

    times = interleaved({"ours": ours, "bare": bare}, asked.repeat)
    return Case(
        name=f"plan: {file}",
        data=Path(asked.source("WN18RR")).name if overrides else BUNDLED,
        batch=None,
        ours_cpu_s=times["ours"].seconds,
        limit_cpu_s=times["bare"].seconds,
        more={"wall_s": statistics.median(walls), "repeat": asked.repeat},
    )


def _spent(arguments: list[str]) -> float:
    """CPU seconds of a Python process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
