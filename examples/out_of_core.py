"""The gradient of a loss over more data than the process may hold: logistic regression on four gigabytes of numbers.

The rows are a Dask array: a recipe for blocks, each of which is made when it is needed and dropped when it was used. So
are loss and gradients, until the last step asks for their numbers; blocks then pass through forward and backward one
after the other. The system is told to refuse this process more memory than a fraction of the data's.

    python examples/out_of_core.py [--gigabytes 4] [--limit 1.5] [--workers 2]
"""

import argparse
import resource
import time

import dask
import dask.array as da

import agrad

FEATURES, ROWS_OF_A_BLOCK = 25, 40_000
GIGA = 1e9


def peak_memory() -> float:
    """The most memory that this process has held so far, in gigabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIGA


def make_data(gigabytes: float) -> tuple[da.Array, da.Array]:
    """Rows of normal numbers, and a label of 1 or -1 for each, by a rule with some noise; nothing is made yet."""
    random = da.random.default_rng(0)
    rows = int(gigabytes * GIGA / (8 * FEATURES))
    x = random.standard_normal((rows, FEATURES), chunks=(ROWS_OF_A_BLOCK, FEATURES))
    noise = random.standard_normal(rows, chunks=ROWS_OF_A_BLOCK)
    return x, da.where(x.sum(axis=1) + noise > 0, 1.0, -1.0)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--gigabytes", type=float, default=4.0, help="how much data")
    options.add_argument("--limit", type=float, default=1.5, help="how much memory the system gives, in gigabytes")
    options.add_argument("--workers", type=int, default=2, help="how many blocks are worked on at once")
    given = options.parse_args()
    resource.setrlimit(resource.RLIMIT_DATA, (int(given.limit * GIGA),) * 2)

    rows, labels = make_data(given.gigabytes)
    start, before = time.perf_counter(), peak_memory()
    x = agrad.asarray(rows, requires_grad=True)
    y = agrad.asarray(labels)
    w = agrad.asarray(da.full(FEATURES, 0.01), requires_grad=True)
    loss = agrad.mean(agrad.logaddexp(0.0, -y * (x @ w)))
    loss.backward()
    print(f"data: {rows.nbytes / GIGA:.2f} GB in {rows.npartitions} blocks; the limit is {given.limit:.2f} GB")
    print(f"loss, before anything is computed: {loss}")
    print(f"gradient of the data: {x.grad}")

    with dask.config.set(scheduler="threads", num_workers=given.workers):
        value, slope, largest = dask.compute(loss.array, w.grad.array, agrad.max(agrad.abs(x.grad)).array)
    print(f"loss {value:.6f}")
    print(f"gradients: of the weights {slope.min():.6f} to {slope.max():.6f}, of the data up to {largest:.3e}")
    seconds = time.perf_counter() - start
    print(f"time {seconds:.1f} s, peak memory {peak_memory():.3f} GB, {before:.3f} GB of it at the start")


if __name__ == "__main__":
    main()
