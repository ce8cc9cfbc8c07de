"""What ran, and sums of it. Must know no engine: events are plain data."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

OPERATIONS = ("forward", "backward")


@dataclass(frozen=True, slots=True)
class Event:
    """Something that ran.

    Attributes
    ----------
    kind : {"forward", "backward", "range", "module"}
        An operation, a step of a backward pass, a `record_function`, the call of a module.
    name : str
        The operation; of a step, the operation that it differentiates.
    start, end : int
        `time.perf_counter_ns()`.
    lane : int
        Which thread, or task of asyncio, counted from 0.
    bytes : int
        What the arrays take that it made, views count nothing; of a range or module, those that were made inside.
    """

    kind: str
    name: str
    start: int
    end: int
    lane: int = 0
    bytes: int = 0

    @property
    def duration(self) -> int:
        """Nanoseconds."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Row:
    """All events of one kind and name.

    Attributes
    ----------
    kind, name : str
        As those of an event.
    calls : int
    total : int
        Nanoseconds.
    share : float
        Of the time of all operations, forward and backward; 0 for ranges and modules, which hold one another.
    bytes : int
        What the arrays take that were made.
    kept : int
        What the arrays take that were kept for backward; what several operations keep counts for the first.
    """

    kind: str
    name: str
    calls: int
    total: int
    share: float
    bytes: int
    kept: int = 0

    @property
    def mean(self) -> float:
        """Nanoseconds per call."""
        return self.total / self.calls


def rows_of(events: Iterable[Event], kept: Mapping[str, int]) -> list[Row]:
    """One row per kind and name; `kept` by the name of the operation."""
    sums: dict[tuple[str, str], list[int]] = {}
    for event in events:
        found = sums.setdefault((event.kind, event.name), [0, 0, 0])
        found[0] += 1
        found[1] += event.duration
        found[2] += event.bytes
    whole = sum(total for (kind, _), (_, total, _) in sums.items() if kind in OPERATIONS)
    rows = []
    for (kind, name), (calls, total, size) in sums.items():
        share = total / max(whole, 1) if kind in OPERATIONS else 0.0
        rows.append(Row(kind, name, calls, total, share, size, kept.get(name, 0) if kind == "forward" else 0))
    return rows


def peak(changes: Iterable[tuple[int, int]]) -> int:
    """The most memory that was in use at a time, of pairs (time, bytes more or less)."""
    now = most = 0
    for _, change in sorted(changes):
        now += change
        most = max(most, now)
    return most
