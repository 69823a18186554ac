"""Fixtures that several test files share."""

from __future__ import annotations

import gc
import os
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from reference.once import once

# Before any test imports a tokenizer or Hugging Face: no threads after fork, no network.
# Tiny models on shared cores: threads that wait for each other cost eight times what they save.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

# A shell's background job inherits SIGINT ignored, and so would every process that a test interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)

# What is imported stays: to look through it for garbage, now and after each test, is a tenth of the time.
gc.disable()


def pytest_collection_finish() -> None:
    """All test files are imported."""
    gc.collect()
    gc.freeze()
    gc.enable()


PROCESSES = ("test_resume.py", "test_workers.py")
"""Files that start processes from one server, which takes seconds to start."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first, so that no process of pytest-xdist is left alone with them at the end."""
    items.sort(key=lambda item: item.path.name not in PROCESSES)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Whole files to each process, so that what a file makes is made once; those of `PROCESSES` to the same."""
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class ByFile(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = str(super()._split_scope(nodeid))
            return "processes" if Path(file).name in PROCESSES else file

    return ByFile(config, log)


# A busy machine is no failure: a timing is never a test.
settings.register_profile("shared", deadline=None)
settings.load_profile("shared")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real graphs beside the checkout; where it is absent, tests that need it are skipped."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"real graphs not found at {folder}")
    return folder


@dataclass(frozen=True, kw_only=True)
class TinyRun:
    """A chain that is trained."""

    chain: Path
    out: Path


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    """One tiny chain, trained once for all tests; do not change it.

    Each process has a copy of its own: a second call of `pmd distill` takes the folder's lock.
    """
    from reference.tiny import write_chain

    def make(folder: Path) -> None:
        from pmd_ray.run.distil import distil
        from pmd_ray.spec.chain_file import load_chain

        distil(load_chain(str(write_chain(folder))), folder / "run")

    folder = once(tmp_path_factory, "tiny", make)
    out = shutil.copytree(folder / "run", tmp_path_factory.mktemp("tiny") / "run")
    return TinyRun(chain=folder / "chain.yaml", out=out)
