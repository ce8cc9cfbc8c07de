"""Sums of a profile as a table. Must know no engine."""

import io
from collections.abc import Iterable, Iterator
from typing import Any

from agrad.autograd.graph.report_table import size_text
from agrad.profiler.events import OPERATIONS, Row

# What rows are sorted by, the largest first: our words, and PyTorch's.
ORDERS = {"total": "total", "mean": "mean", "calls": "calls", "bytes": "bytes", "kept": "kept"} | {
    "cpu_time_total": "total", "self_cpu_time_total": "total", "cpu_time": "mean", "count": "calls",
    "cpu_memory_usage": "bytes", "self_cpu_memory_usage": "bytes",
}
COLUMNS = ("operation", "pass", "calls", "total", "mean", "share", "made", "kept")
N_TEXTS = 2     # columns that are set to the left


class Averages:
    """The rows of a profile: iterate, index or `print` them.

    Attributes
    ----------
    rows : tuple of Row
        Operations, forward and backward, then modules and ranges; each the longest in total first.
    """

    def __init__(self, rows: Iterable[Row]) -> None:
        self.rows = tuple(sorted(rows, key=lambda row: (row.kind not in OPERATIONS, -row.total, row.name)))

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> Row:
        return self.rows[i]

    def table(self, sort_by: str = "total", row_limit: int | None = None) -> str:
        """A table as text, drawn by rich where that is installed.

        Parameters
        ----------
        sort_by : {"total", "mean", "calls", "bytes", "kept"}
            Or one of PyTorch's words for them, as "cpu_time_total".
        row_limit : int, optional
            How many operations, and how many modules and ranges, are shown; None or -1: all.
        """
        operations, others, total = self._parts(sort_by, row_limit)
        try:
            import rich  # noqa: F401
        except ImportError:
            return _plain([operations, total, others])
        return _drawn(_rich([operations, total, others]))

    def _parts(self, sort_by: str, row_limit: int | None) -> tuple[list[Row], list[Row], list[Row]]:
        """Operations, what else there is, and a row of totals."""
        if sort_by not in ORDERS:
            raise ValueError(f"sort_by={sort_by!r}: expected one of {', '.join(ORDERS)}")
        most = None if row_limit in (None, -1) else row_limit
        rows = sorted(self.rows, key=lambda row: -getattr(row, ORDERS[sort_by]))
        operations = [row for row in rows if row.kind in OPERATIONS]
        total = Row(
            "", "total", sum(row.calls for row in operations), sum(row.total for row in operations), 1.0,
            sum(row.bytes for row in operations), sum(row.kept for row in operations),
        )
        others = [row for row in rows if row.kind not in OPERATIONS]
        return operations[:most], others[:most], [total] if operations else []

    def __str__(self) -> str:
        operations, others, total = self._parts("total", None)
        return _plain([operations, total, others])

    def __rich__(self) -> Any:
        operations, others, total = self._parts("total", None)
        return _rich([operations, total, others])


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.name, row.kind, str(row.calls), time_text(row.total), time_text(row.mean) if row.calls else "",
        f"{row.share:.1%}" if row.share else "", size_text(row.bytes), size_text(row.kept) if row.kept else "",
    )


def _plain(sections: Iterable[Iterable[Row]]) -> str:
    lines = [COLUMNS, *(_cells(row) for section in sections for row in section)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if k < N_TEXTS else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def _rich(sections: Iterable[Iterable[Row]]) -> Any:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for k, name in enumerate(COLUMNS):
        table.add_column(name, justify="left" if k < N_TEXTS else "right", no_wrap=k > 0)
    for section in sections:
        for row in section:
            table.add_row(*map(Text, _cells(row)), style="bold" if row.name == "total" and not row.kind else None)
        table.add_section()
    return table


def _drawn(table: Any) -> str:
    from rich.console import Console

    out = io.StringIO()
    Console(file=out, width=1000).print(table)
    return out.getvalue().rstrip()


def time_text(ns: float) -> str:
    """A time, for people."""
    for unit, size in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if ns >= size:
            return f"{ns / size:.3f} {unit}" if ns < 10 * size else f"{ns / size:.1f} {unit}"
    return f"{ns:.0f} ns"
