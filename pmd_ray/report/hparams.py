"""Event files for TensorBoard's HPARAMS tab, written with its own messages and without torch."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pmd_ray.report.settings import Value


@dataclass(frozen=True, kw_only=True)
class Session:
    """One row of the tab."""

    settings: Mapping[str, Value]
    metrics: Mapping[str, float]
    """Tag to value; a chain whose last grade is missing has none."""
    complete: bool
    """Whether all its stages are there."""


def session_events(session: Session, sessions: Sequence[Session], *, created: float) -> bytes:
    """The content of one summary run's event file: what is varied, this run's settings, its metrics.

    Args:
        sessions: All rows of the tab: each file says what they vary, since TensorBoard reads it from any one of them.
        created: Seconds since 1970, for every record.
    """
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import metadata
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo, SessionStartInfo
    from tensorboard.summary.writer.record_writer import RecordWriter

    def tagged(tag: str, **content: Any) -> Any:
        data = HParamsPluginData(version=metadata.PLUGIN_DATA_VERSION, **content)
        described = metadata.create_summary_metadata(data)
        # Settings are a map, whose order in bytes is nobody's promise otherwise: equal runs, equal files.
        described.plugin_data.content = data.SerializeToString(deterministic=True)
        return Summary(value=[Summary.Value(tag=tag, metadata=described, tensor=metadata.NULL_TENSOR)])

    start = SessionStartInfo(start_time_secs=created)
    for name, value in session.settings.items():
        _fill(start.hparams[name], value)
    end = SessionEndInfo(status=_status(session.complete), end_time_secs=created)
    summaries = [
        tagged(metadata.EXPERIMENT_TAG, experiment=_experiment(sessions, created=created)),
        tagged(metadata.SESSION_START_INFO_TAG, session_start_info=start),
        *(Summary(value=[Summary.Value(tag=tag, simple_value=value)]) for tag, value in session.metrics.items()),
        tagged(metadata.SESSION_END_INFO_TAG, session_end_info=end),
    ]
    buffer = io.BytesIO()
    writer = RecordWriter(buffer)
    writer.write(Event(wall_time=created, file_version="brain.Event:2").SerializeToString())
    for summary in summaries:
        writer.write(Event(wall_time=created, step=0, summary=summary).SerializeToString(deterministic=True))
    return buffer.getvalue()


def _experiment(sessions: Sequence[Session], *, created: float) -> Any:
    """What the rows vary and measure."""
    from tensorboard.plugins.hparams.api_pb2 import Experiment, MetricInfo, MetricName

    names = dict.fromkeys(name for session in sessions for name in session.settings)
    tags = dict.fromkeys(tag for session in sessions for tag in session.metrics)
    infos = [_hparam(name, [session.settings.get(name) for session in sessions]) for name in names]
    metrics = [MetricInfo(name=MetricName(tag=tag), display_name=tag) for tag in tags]
    return Experiment(hparam_infos=infos, metric_infos=metrics, time_created_secs=created)


def _hparam(name: str, values: Sequence[Value]) -> Any:
    """One column: its type, and the values to choose from."""
    from tensorboard.plugins.hparams.api_pb2 import DataType, HParamInfo

    distinct = list(dict.fromkeys(value for value in values if value is not None))
    kind = {bool: "BOOL", float: "FLOAT64", str: "STRING"}[type(distinct[0])] if distinct else "STRING"
    info = HParamInfo(name=name, type=DataType.Value(f"DATA_TYPE_{kind}"))
    for value in distinct:
        _fill(info.domain_discrete.values.add(), value)
    return info


def _fill(place: Any, value: Value) -> None:
    match value:
        case bool():
            place.bool_value = value
        case float() | int():
            place.number_value = value
        case _:
            place.string_value = "none" if value is None else value


def _status(complete: bool) -> Any:
    from tensorboard.plugins.hparams.api_pb2 import Status

    return Status.Value("STATUS_SUCCESS" if complete else "STATUS_FAILURE")
