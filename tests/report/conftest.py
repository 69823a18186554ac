"""One synthetic study for all tests of the room that only read it."""

from __future__ import annotations

import pytest
from report.synthetic_study import Made, make_study

from pmd_ray.report.contents import Contents, contents
from pmd_ray.report.study_report import Written, write_report


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Four variants and three seeds, every stage there; do not write into it."""
    return make_study(tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="session")
def found(made: Made) -> Contents:
    """What its report says."""
    return contents(made.record, made.store)


@pytest.fixture(scope="session")
def reported(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Written:
    """Its whole report; do not write into its folder."""
    return write_report(made.record, made.store, tmp_path_factory.mktemp("reported"))
