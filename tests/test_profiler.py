"""The profiler: counts are exact, times and bytes plausible, and nothing is noted that ran elsewhere or afterwards."""

import asyncio
import contextvars
import io
import itertools
import json
import sys
import threading
import time
import weakref

import numpy as np
import pytest

import agrad
from agrad import nn
from agrad.cython_core import engine
from agrad.profiler import Event, profile, record_function
from agrad.profiler.averages import Averages, time_text
from agrad.profiler.chrome_trace import chrome_trace
from agrad.profiler.events import peak, rows_of


def calls(prof):
    """How often each operation ran: (kind, name) -> calls."""
    return {(row.kind, row.name): row.calls for row in prof.key_averages()}


def work(x):
    return (agrad.tanh(x @ x) * x).sum()


FORWARD = {("forward", "matmul"): 1, ("forward", "tanh"): 1, ("forward", "multiply"): 1, ("forward", "sum"): 1}
BACKWARD = {("backward", name): n for (_, name), n in FORWARD.items()}


@pytest.fixture
def x():
    return agrad.ones((8, 8)).requires_grad_()


# ---------------------------------------------------------------------------------------------- what is noted, and when


def test_operations_are_counted_forward_and_backward(x):
    with profile() as prof:
        for _ in range(3):
            work(x).backward()
    assert calls(prof) == {key: 3 * n for key, n in (FORWARD | BACKWARD).items()}


def test_every_backend_is_measured(backend):
    x = agrad.ones((4, 4)).requires_grad_()
    with profile() as prof:
        work(x).backward()
    assert calls(prof) == FORWARD | BACKWARD


def test_times_are_plausible(x):
    begun = time.perf_counter_ns()
    with profile() as prof:
        for _ in range(20):
            work(x).backward()
    wall = time.perf_counter_ns() - begun
    events = prof.events()
    assert all(event.duration >= 0 for event in events)
    assert [event.start for event in events] == sorted(event.start for event in events)
    assert all(one.end <= two.start for one, two in itertools.pairwise(events)), "operations do not overlap"
    assert 0 < sum(event.duration for event in events) <= prof.wall <= wall
    assert sum(row.total for row in prof.key_averages()) == sum(event.duration for event in events)
    assert sum(row.share for row in prof.key_averages()) == pytest.approx(1)


def test_a_slow_operation_is_seen_to_be_slow(x):
    class Slow(agrad.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1

        @staticmethod
        def backward(ctx, g):
            time.sleep(0.02)
            return g * 1

    with profile() as prof:
        Slow.apply(x).sum().backward()
    (row,) = [row for row in prof.key_averages() if (row.kind, row.name) == ("backward", "Slow")]
    assert row.total >= 20_000_000
    assert prof.key_averages()[0] == row


def test_bytes_are_those_of_new_arrays(x):
    with profile() as prof:
        y = agrad.exp(x)        # 512 bytes, kept
        z = y.T[:4]             # views
        (z * 2).sum()           # 256 and 8
    found = {row.name: (row.bytes, row.kept) for row in prof.key_averages()}
    assert found == {
        "exp": (512, 512), "permute_dims": (0, 0), "getitem": (0, 0), "multiply": (256, 0), "sum": (8, 0),
    }


def test_what_is_kept_counts_once_and_leaves_do_not_count(x):
    with profile() as prof:
        y = agrad.exp(x)
        (y * y * x).sum()
    assert {row.name: row.kept for row in prof.key_averages()} == {"exp": 512, "multiply": 512, "sum": 0}


def test_the_peak_is_that_of_arrays_alive_at_a_time(x):
    with agrad.no_grad(), profile() as prof:
        for _ in range(5):
            y = x * 2           # the one before lives until the name is taken
        del y
    assert prof.peak == 2 * 512
    with agrad.no_grad(), profile() as prof:
        kept = [x * 2 for _ in range(5)]
    del kept
    assert prof.peak == 5 * 512


def test_nothing_is_noted_outside(x):
    before = engine.get_mode()
    prof = profile()
    work(x)
    with prof:
        pass
    work(x).backward()
    assert engine.get_mode() is before
    assert prof.events() == []
    assert len(prof.key_averages()) == 0
    assert "0 ns in operations" in str(prof)


def test_a_profile_goes_on_where_it_is_entered_again(x):
    prof = profile()
    for _ in range(2):
        with prof:
            work(x)
    assert calls(prof) == dict.fromkeys(FORWARD, 2)
    with prof, pytest.raises(RuntimeError, match="running already"), prof:
        pass


def test_profiles_nest(x):
    with profile() as outer:
        work(x)
        with profile() as inner:
            work(x)
        work(x).backward()
    assert calls(inner) == FORWARD
    assert calls(outer) == dict.fromkeys(FORWARD, 3) | BACKWARD
    assert sum(row.kept for row in inner.key_averages()) > 0


def test_an_exception_ends_a_profile(x):
    before = engine.get_mode()
    prof = profile()
    with pytest.raises(ValueError, match="matmul"), prof:
        work(x) + x @ agrad.ones((3, 3))
    assert engine.get_mode() is before
    work(x)
    assert calls(prof) == FORWARD


def test_other_threads_are_measured_in_a_copy_of_the_context_only(x):
    with profile() as prof:
        thread = threading.Thread(target=work, args=(x,))
        thread.start()
        thread.join()
        assert prof.events() == []
        thread = threading.Thread(target=contextvars.copy_context().run, args=(work, x))
        thread.start()
        thread.join()
        work(x)
    assert calls(prof) == dict.fromkeys(FORWARD, 2)
    assert sorted({event.lane for event in prof.events()}) == [0, 1]


def test_profiles_in_threads_do_not_mix(x):
    found = {}
    barrier = threading.Barrier(4)

    def run(n):
        barrier.wait()
        with profile() as prof:
            for _ in range(n):
                work(x)
        found[n] = calls(prof)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {n: dict.fromkeys(FORWARD, n) for n in range(1, 5)}


def test_tasks_have_their_own_profiles_and_lanes(x):
    async def run(n):
        with profile() as prof:
            for _ in range(n):
                await asyncio.sleep(0)
                work(x)
        return calls(prof)

    async def parts():
        async def part(name):
            with record_function(name):
                await asyncio.sleep(0)
                work(x)
                await asyncio.sleep(0)

        with profile() as prof:
            await asyncio.gather(part("a"), part("b"))
        return prof

    async def several():
        return await asyncio.gather(run(1), run(2), run(3))

    assert asyncio.run(several()) == [dict.fromkeys(FORWARD, n) for n in (1, 2, 3)]
    prof = asyncio.run(parts())
    assert calls(prof)["forward", "tanh"] == 2
    lanes = {event.name: event.lane for event in prof.events() if event.kind == "range"}
    assert lanes["a"] != lanes["b"]


def test_a_task_that_outlives_the_profile_is_not_noted(x):
    async def late():
        await asyncio.sleep(0.01)
        work(x)

    async def main():
        with profile() as prof:
            task = asyncio.create_task(late())
            work(x)
        await task
        return prof

    assert calls(asyncio.run(main())) == FORWARD


def test_a_generator_may_hold_a_profile(x):
    before = engine.get_mode()

    def steps():
        with profile() as prof:
            yield work(x)
            yield work(x)
        yield prof

    *_, prof = steps()
    assert calls(prof) == dict.fromkeys(FORWARD, 2)
    assert engine.get_mode() is before


def test_create_graph_and_transforms_are_measured(x):
    with profile() as prof:
        (g,) = agrad.autograd.grad(work(x), x, create_graph=True)
        g.sum().backward()
    assert {key: calls(prof)[key] for key in FORWARD if key != ("forward", "sum")} == {
        key: 1 for key in FORWARD if key != ("forward", "sum")
    }, "what rules compute counts as theirs"
    assert calls(prof)["backward", "matmul"] > 1
    with profile() as prof:
        agrad.vmap(agrad.func.grad(lambda row: (agrad.sin(row) * row).sum()))(agrad.ones((3, 4)))
    assert calls(prof)["forward", "sin"] == 1


def test_hooks_may_profile_too(x):
    inner = profile()

    def hook(g):
        with inner:
            return g * 2

    y = x * 3
    y.register_hook(hook)
    with profile() as prof:
        y.sum().backward()
    assert calls(inner) == {("forward", "multiply"): 1}
    assert calls(prof)["backward", "multiply"] == 1


# --------------------------------------------------------------------------------------------------- ranges and modules


def test_ranges_hold_what_ran_in_them(x):
    @record_function("whole")
    def step(depth=1):
        with record_function("part"):
            work(x)
        if depth:
            step(depth - 1)

    step()          # nobody measures
    with profile() as prof:
        step()
    ranges = [event for event in prof.events() if event.kind == "range"]
    assert [event.name for event in ranges] == ["whole", "part", "whole", "part"]
    inside = [event for event in prof.events() if ranges[1].start <= event.start and event.end <= ranges[1].end]
    assert len(inside) == 1 + len(FORWARD)
    made = sum(event.bytes for event in prof.events() if event.kind == "forward")
    assert [event.bytes for event in ranges] == [made, made // 2, made // 2, made // 2]
    assert sum(row.share for row in prof.key_averages()) == pytest.approx(1)


class Scale(nn.Module):
    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(agrad.ones(2))

    def forward(self, x):
        return self.factor * x


def test_calls_of_modules_are_noted():
    model = nn.Sequential(Scale(), Scale())
    with profile(model) as prof:
        model(agrad.ones(2))
        with pytest.raises((ValueError, TypeError)):
            model(agrad.ones(3))
        model[1](agrad.ones(2))
    assert {key: n for key, n in calls(prof).items() if key[0] == "module"} == {
        ("module", "Sequential"): 2, ("module", "0"): 2, ("module", "1"): 2,
    }
    model(agrad.ones(2))
    assert calls(prof)["module", "0"] == 2
    with pytest.raises(TypeError, match="expected a Module"), profile(work):
        pass


def test_modules_of_nested_profiles_and_of_other_threads():
    model = nn.Sequential(Scale())
    x = agrad.ones(2)
    with profile(model) as outer:
        with profile(model) as inner:
            model(x)
        thread = threading.Thread(target=model, args=(x,))
        thread.start()
        thread.join()
    expected = {("module", "Sequential"): 1, ("module", "0"): 1, ("forward", "multiply"): 1}
    assert calls(outer) == calls(inner) == expected


# -------------------------------------------------------------------------------------------------------------- results


EVENTS = [
    Event("forward", "exp", 1000, 3000, 0, 80), Event("forward", "exp", 4000, 5000, 0, 80),
    Event("backward", "exp", 6000, 7000, 0, 80), Event("range", "all of \"it\" <b>", 500, 8000, 0),
    Event("forward", "sum", 5000, 5500, 1, 8),
]


def test_rows_are_sums():
    rows = {(row.kind, row.name): row for row in rows_of(EVENTS, {"exp": 160})}
    exp = rows["forward", "exp"]
    assert (exp.calls, exp.total, exp.mean, exp.bytes, exp.kept) == (2, 3000, 1500, 160, 160)
    assert exp.share == pytest.approx(3000 / 4500)
    assert rows["backward", "exp"].kept == 0
    assert rows_of([], {}) == []
    assert peak([(3, -5), (1, 5), (2, 7)]) == 12
    assert peak([]) == 0


def test_tables_have_every_row_and_totals(monkeypatch):
    averages = Averages(rows_of(EVENTS, {"exp": 160}))
    assert str(averages) == """\
operation        pass      calls     total      mean   share   made   kept
exp              forward       2  3.000 us  1.500 us   66.7%  160 B  160 B
exp              backward      1  1.000 us  1.000 us   22.2%   80 B
sum              forward       1    500 ns    500 ns   11.1%    8 B
total                          4  4.500 us  1.125 us  100.0%  248 B  160 B
all of "it" <b>  range         1  7.500 us  7.500 us            0 B"""
    monkeypatch.setitem(sys.modules, "rich", None)
    assert averages.table() == str(averages)
    by_count = averages.table(sort_by="calls", row_limit=1).splitlines()
    assert [line.split()[0] for line in by_count] == ["operation", "exp", "total", "all"]
    assert averages.table(sort_by="cpu_time_total", row_limit=-1) == str(averages)
    with pytest.raises(ValueError, match="sort_by='speed': expected one of total, mean"):
        averages.table(sort_by="speed")


def test_rich_draws_the_table(x):
    console = pytest.importorskip("rich.console").Console(width=80, record=True, file=io.StringIO())
    with profile() as prof:
        work(x).backward()
    for name in ("matmul", "backward", "total"):
        assert name in prof.table()
    assert "at most" in prof.table()
    assert prof.table(row_limit=1).count("ward") == 1
    console.print(prof)
    assert "tanh" in console.export_text()
    assert "[b]" in Averages(rows_of([Event("range", "[b]", 0, 1)], {})).table(), "names are no markup"


@pytest.mark.parametrize(("ns", "text"), [(0, "0 ns"), (999, "999 ns"), (1500, "1.500 us"), (25e3, "25.0 us"),
                                          (2.5e6, "2.500 ms"), (61e9, "61.0 s")])
def test_times_are_written_for_people(ns, text):
    assert time_text(ns) == text


# -------------------------------------------------------------------------------------------------------- Chrome traces

PHASES = {"X": {"name", "cat", "ts", "dur", "pid", "tid", "args"}, "M": {"name", "ts", "pid", "tid", "args"},
          "C": {"name", "ts", "pid", "tid", "args"}}


def assert_is_a_trace(trace):
    """What the format asks for: known phases with all their fields, and slices of a lane that hold one another."""
    assert set(trace) == {"traceEvents", "displayTimeUnit"}
    open_slices = {}
    for record in trace["traceEvents"]:
        assert set(record) == PHASES[record["ph"]] | {"ph"}
        assert isinstance(record["name"], str)
        assert isinstance(record["ts"], int | float)
        assert record["ts"] >= 0
        assert isinstance(record["pid"], int)
        assert isinstance(record["tid"], int)
        assert all(isinstance(value, int | str) for value in record["args"].values())
        if record["ph"] == "X":
            assert record["dur"] >= 0
            stack = open_slices.setdefault(record["tid"], [])
            while stack and stack[-1] <= record["ts"] + 1e-6:
                stack.pop()
            assert not stack or record["ts"] + record["dur"] <= stack[-1] + 1e-3
            stack.append(record["ts"] + record["dur"])


def test_a_chrome_trace_has_the_format(tmp_path, x):
    model = nn.Sequential(Scale(), Scale())
    with profile(model) as prof:
        with record_function('a "name" \\ <b>'):
            model(agrad.ones(2)).sum().backward()
        work(x).backward()
    prof.export_chrome_trace(tmp_path / "trace.json")
    trace = json.loads((tmp_path / "trace.json").read_text(encoding="utf-8"))
    assert_is_a_trace(trace)
    slices = [record for record in trace["traceEvents"] if record["ph"] == "X"]
    assert len(slices) == len(prof.events())
    assert {record["name"] for record in slices} >= {"matmul", "matmul backward", "Sequential", 'a "name" \\ <b>'}
    assert max(record["args"]["bytes"] for record in trace["traceEvents"] if record["ph"] == "C") == prof.peak
    assert [record["args"]["name"] for record in trace["traceEvents"] if record["name"] == "thread_name"] == [
        "MainThread"
    ]


def test_a_trace_begins_at_zero_and_names_its_lanes():
    trace = chrome_trace(EVENTS, {0: "MainThread", 1: "other"}, [(1500, 80), (2500, -80)], 7)
    assert_is_a_trace(trace)
    slices = [record for record in trace["traceEvents"] if record["ph"] == "X"]
    assert [(record["ts"], record["dur"]) for record in slices][:2] == [(0, 7.5), (0.5, 2)]
    assert [record["args"]["bytes"] for record in trace["traceEvents"] if record["ph"] == "C"] == [80, 0]
    assert {record["pid"] for record in trace["traceEvents"]} == {7}
    assert_is_a_trace(chrome_trace([], {}, [], 1))


# ---------------------------------------------------------------------------------------------------------------- costs


def test_a_profile_holds_no_array(x):
    with profile() as prof:
        y = work(x)
        array = np.ones(3)
        gone = weakref.ref(array)
        z = agrad.asarray(array) * 2
        del array, z
    del y
    assert gone() is None
    assert len(prof.events()) == len(FORWARD) + 1


def test_what_a_program_switches_inside_stays_switched():
    with profile():
        agrad.set_grad_enabled(False)
        agrad.autograd.set_detect_anomaly(True)
    try:
        assert not agrad.is_grad_enabled()
        assert agrad.is_anomaly_enabled()
        assert engine.get_mode().profiling is None
        assert engine.get_mode().tracing is None
    finally:
        agrad.set_grad_enabled(True)
        agrad.autograd.set_detect_anomaly(False)
