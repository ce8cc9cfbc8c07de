"""Events in the format of chrome://tracing, which Perfetto reads too. Must know no engine.

Source: Trace Event Format, https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU
"""

from collections.abc import Iterable, Mapping
from typing import Any

from agrad.profiler.events import Event


def chrome_trace(
    events: Iterable[Event], lanes: Mapping[int, str], memory: Iterable[tuple[int, int]], pid: int
) -> dict[str, Any]:
    """The trace as what JSON holds; times in microseconds from the first event.

    Parameters
    ----------
    events : iterable of Event
    lanes : mapping from int to str
        Names of the lanes.
    memory : iterable of (int, int)
        Times, and bytes more or less in use since then.
    pid : int
        Number of the process.
    """
    events, memory = list(events), sorted(memory)
    first = min([event.start for event in events] + [time for time, _ in memory[:1]], default=0)
    records: list[dict[str, Any]] = [
        {"ph": "M", "name": "process_name", "pid": pid, "tid": 0, "ts": 0, "args": {"name": "agrad"}}
    ]
    for lane, name in sorted(lanes.items()):
        records.append({"ph": "M", "name": "thread_name", "pid": pid, "tid": lane, "ts": 0, "args": {"name": name}})
    # of two that begin together the longer one holds the other
    for event in sorted(events, key=lambda event: (event.start, -event.end)):
        records.append({
            "ph": "X", "name": f"{event.name} backward" if event.kind == "backward" else event.name, "cat": event.kind,
            "ts": (event.start - first) / 1000, "dur": event.duration / 1000, "pid": pid, "tid": event.lane,
            "args": {"bytes": event.bytes},
        })
    now = 0
    for time, change in memory:
        now += change
        records.append({
            "ph": "C", "name": "memory", "ts": (time - first) / 1000, "pid": pid, "tid": 0, "args": {"bytes": now},
        })
    return {"traceEvents": records, "displayTimeUnit": "ms"}
