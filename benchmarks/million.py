"""One million nodes deep: no recursion, bytes per node, time to release. A process of its own, one JSON object out.

    python benchmarks/million.py chain      y = y*w + x, w a constant: all nodes save the one array w
    python benchmarks/million.py kept       w tracked too: every product saves its y
    python benchmarks/million.py arrays     no graph: the arrays that `kept` saves, by themselves

The stack is limited to 1 MiB first, so that anything that recurses along the graph (walk, release) dies here.
"""

import ctypes
import gc
import json
import os
import resource
import sys
import time

import numpy as np

import agrad

STACK = 1 << 20
NODES = 1_000_000
STEPS = NODES // 2  # a product and a sum per step


def main():
    limit_stack()
    mode = sys.argv[1]
    print(json.dumps(arrays() if mode == "arrays" else graph(tracked_w=mode == "kept")))


def limit_stack():
    """Start this process again under a small stack: what a running process already has cannot be taken back."""
    soft, hard = resource.getrlimit(resource.RLIMIT_STACK)
    if soft == resource.RLIM_INFINITY or soft > STACK:
        resource.setrlimit(resource.RLIMIT_STACK, (STACK, hard))
        os.execv(sys.executable, sys.orig_argv)


def graph(tracked_w):
    x = agrad.tensor(np.full(4, 0.5), requires_grad=True)
    w = agrad.tensor(np.full(4, 0.9999), requires_grad=tracked_w)
    start, gradient = agrad.tensor(np.ones(4)), agrad.tensor(np.ones(4))

    def forward(steps):
        y = start
        for _ in range(steps):
            y = y * w + x
        return y

    forward(1000).backward(gradient)  # what the first use loads or allocates once is no cost of a node
    before = resident()
    y, forward_s = timed(forward, STEPS)
    held = resident() - before
    drop = [y]
    del y
    _, release_s = timed(drop.clear)

    y = forward(STEPS)
    _, backward_s = timed(y.backward, gradient)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    return {"nodes": NODES, "held": held, "peak": peak} | {
        "forward_s": forward_s,
        "backward_s": backward_s,
        "release_s": release_s,
    }


def arrays():
    """Resident memory of one array per step, made as the chain makes them: a sum of a product that is dropped."""
    w, x = np.full(4, 0.9999), np.full(4, 0.5)
    held = [None] * STEPS  # the list itself is there before the first reading
    y = np.ones(4)
    before = resident()
    for i in range(STEPS):
        held[i] = y
        y = y * w + x
    return {"arrays": STEPS, "held": resident() - before}


def resident():
    """Bytes of this process in memory, after garbage is gone and free heap is back with the system."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's; elsewhere free heap stays counted
    if trim:
        trim(0)
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def timed(function, *args):
    began = time.perf_counter()
    result = function(*args)
    return result, time.perf_counter() - began


if __name__ == "__main__":
    main()
