"""What a stage's Ray task returned, or what became of its process."""

from __future__ import annotations

from typing import Any

import ray

from pmd_ray.run.stage_job import Ending, StageOutcome
from pmd_ray.spec.attempt import FailureKind
from pmd_ray.spec.errors import WorkerError

HEAD_GONE = "Ray went away (its process on this machine was ended); what was finished is kept, the same command goes on"
UNPREPARED = "RuntimeEnvSetupError"
"""Signature of a stage for which a node could not make a process."""
CRASHED = "WorkerCrashedError"
"""Signature of a stage whose process ended without a word."""


def task_outcome(key: str, reference: Any) -> StageOutcome:
    """What a task returned, or what became of its process.

    Raises:
        WorkerError: Ray itself is gone.
    """
    try:
        outcome: StageOutcome = ray.get(reference)
        return outcome
    except ray.exceptions.LocalRayletDiedError:
        # Nothing can be started any more, here or elsewhere: it is not this stage that is lost.
        raise WorkerError(HEAD_GONE) from None
    except ray.exceptions.OutOfMemoryError as error:
        kind, message = FailureKind.OUT_OF_MEMORY, _first_line(error)
    except ray.exceptions.WorkerCrashedError as error:
        return StageOutcome(
            key=key,
            ending=Ending.FAILED,
            kind=FailureKind.NODE_LOST,
            message=_first_line(error),
            signature=CRASHED,
        )
    except ray.exceptions.TaskCancelledError as error:
        kind, message = FailureKind.NODE_LOST, _first_line(error)
    except ray.exceptions.RayTaskError as error:
        return StageOutcome(
            key=key,
            ending=Ending.FAILED,
            kind=FailureKind.BUG,
            message=_first_line(error.cause or error),
            signature=type(error.cause or error).__name__,
        )
    except ray.exceptions.RuntimeEnvSetupError as error:
        return StageOutcome(
            key=key,
            ending=Ending.FAILED,
            kind=FailureKind.NODE_LOST,
            message=f"a node could not begin: {' '.join(str(error).split())[-300:]}",
            signature=UNPREPARED,
        )
    except ray.exceptions.RayError as error:
        kind, message = FailureKind.NODE_LOST, _first_line(error)
    return StageOutcome(key=key, ending=Ending.FAILED, kind=kind, message=message)


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__
