"""A storage that refuses for a while is waited for, a full disk left for another node; anything else ends the walk."""

from __future__ import annotations

import errno
import os

import pytest

from pmd_ray.run.failures import STORAGE_PATIENCE_S, Failures
from pmd_ray.run.stage_job import Ending, StageJob, StageOutcome
from pmd_ray.spec.attempt import FailureKind
from pmd_ray.spec.chain import ChainConfig
from pmd_ray.spec.dataset import DatasetConfig
from pmd_ray.spec.errors import StorageError
from pmd_ray.spec.grade import GradeConfig

JOB = StageJob(
    key="a",
    chain=ChainConfig(dataset=DatasetConfig(source="cldr"), grades=(GradeConfig(name="any", layers=1),)),
    grade=GradeConfig(name="any", layers=1),
    teacher_key=None,
    teacher=None,
    control_of=None,
)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def refused(code: int, *, progressed: bool = False) -> StageOutcome:
    return StageOutcome(
        key="a",
        ending=Ending.FAILED,
        kind=FailureKind.DISK,
        message=f"/s: {os.strerror(code)}; x",
        progressed=progressed,
    )


@pytest.mark.parametrize("code", [errno.EROFS, errno.EIO, errno.ESTALE])
def test_a_refusal_that_may_pass_is_waited_for(code: int) -> None:
    clock = Clock()
    failures = Failures(clock)
    for _ in range(3):
        assert "tried again" in (failures.try_again(refused(code), JOB) or "")
        clock.now += STORAGE_PATIENCE_S / 3
    assert failures.try_again(refused(code), JOB)
    clock.now += 1
    with pytest.raises(StorageError, match=os.strerror(code)):
        failures.try_again(refused(code), JOB)


def test_the_wait_begins_anew_after_an_epoch() -> None:
    clock = Clock()
    failures = Failures(clock)
    failures.try_again(refused(errno.EROFS), JOB)
    clock.now += STORAGE_PATIENCE_S + 1
    assert f"{STORAGE_PATIENCE_S:.0f} s more" in (failures.try_again(refused(errno.EROFS, progressed=True), JOB) or "")


def test_a_full_disk_is_tried_once_more_elsewhere() -> None:
    failures = Failures(Clock())
    assert "another node" in (failures.try_again(refused(errno.ENOSPC), JOB) or "")
    with pytest.raises(StorageError):
        failures.try_again(refused(errno.ENOSPC), JOB)


def test_permissions_are_not_waited_for() -> None:
    with pytest.raises(StorageError):
        Failures(Clock()).try_again(refused(errno.EACCES), JOB)
