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
    signature = ""
    try:
        outcome: StageOutcome = ray.get(reference)
        return outcome
    except ray.exceptions.LocalRayletDiedError:
        # Nothing can be started any more, here or elsewhere: it is not this stage that is lost.
        raise WorkerError(HEAD_GONE) from None
    except ray.exceptions.OutOfMemoryError as error:
        kind, message = FailureKind.OUT_OF_MEMORY, _first_line(error)
    except ray.exceptions.WorkerCrashedError as error:
        kind, message, signature = FailureKind.NODE_LOST, _first_line(error), CRASHED
    except ray.exceptions.TaskCancelledError as error:
        kind, message = FailureKind.NODE_LOST, _first_line(error)
    except ray.exceptions.RayTaskError as error:
        cause = error.cause or error
        kind, message, signature = FailureKind.BUG, _first_line(cause), type(cause).__name__
    except ray.exceptions.RuntimeEnvSetupError as error:
        said = " ".join(str(error).split())[-300:]
        kind, message, signature = FailureKind.NODE_LOST, f"a node could not begin: {said}", UNPREPARED
    except ray.exceptions.RayError as error:
        kind, message = FailureKind.NODE_LOST, _first_line(error)
    return StageOutcome(key=key, ending=Ending.FAILED, kind=kind, message=message, signature=signature)


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__
