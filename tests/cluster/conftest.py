"""A cluster of three hosts for all tests here: a head and two that train; `make test-cluster`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.hosts import Hosts
from cluster.needs import needs
from cluster.table import Table
from cluster.twin import Cluster, launched

MISSING: list[str] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say aloud that nothing was tested, and why."""
    if MISSING:
        terminalreporter.section("NO CLUSTER TEST WAS RUN: no hosts can be made here", red=True, bold=True)
        for line in MISSING:
            terminalreporter.line(f"missing: {line}")


@pytest.fixture(scope="session")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    """Where no hosts can be made, everything here is skipped, and the reason said aloud."""
    MISSING.extend(needs())
    if MISSING:
        pytest.skip(f"no hosts of our own: {'; '.join(MISSING)}")
    with Hosts(tmp_path_factory.mktemp("cluster") / "hosts", count=3, venv=Path(sys.prefix)) as made:
        yield made


@pytest.fixture(scope="session")
def cluster(hosts: Hosts) -> Iterator[Cluster]:
    """The hosts, launched."""
    with launched(hosts) as made:
        yield made


@pytest.fixture(scope="session")
def table() -> Iterator[Table]:
    """What the faults cost; written to PMD_FAULTS_TABLE where that names a file."""
    made = Table()
    yield made
    made.write()
