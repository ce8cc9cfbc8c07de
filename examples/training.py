"""What the examples share: their options, batches in random order, and a loss that must be a number.

This is no data library: a batch is a row of places, and an example takes what it needs there.
"""

import argparse
import math

import agrad


def options(description, arguments, **defaults):
    """Read `--backend`, `--seed` and what has the given defaults; seed the draws and say where they happen.

    What cannot be used ends the program with exit code 2 and a message. The example runs inside
    `with agrad.use_backend(options(...).backend)`.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", help="numpy, torch, jax, ...; the configured one if left out")
    parser.add_argument("--seed", type=_at_least(0), default=0, help="decides everything that is drawn (%(default)s)")
    for name, value in defaults.items():
        what = {"type": _at_least(1), "help": "how many (%(default)s)"} if isinstance(value, int) else {}
        parser.add_argument(f"--{name}", default=value, **what)
    given = parser.parse_args(arguments)
    given.backend = given.backend or agrad.get_default_backend()
    try:
        with agrad.use_backend(given.backend):
            here = agrad.zeros(())
    except (ImportError, LookupError, RuntimeError, TypeError, ValueError) as error:
        parser.error(f"argument --backend: {error.args[0] if error.args else error}")
    agrad.manual_seed(given.seed)
    print(f"backend {given.backend} on {here.backend_.device_name(here.device)}, seed {given.seed}", flush=True)
    return given


def _at_least(smallest):
    def number(text):
        if not text.isdecimal() or int(text) < smallest:
            raise argparse.ArgumentTypeError(f"expected a whole number, at least {smallest}, not {text!r}")
        return int(text)

    return number


def batches(n, size):
    """The places from 0 to n - 1 in random order, `size` at a time; those that fill no batch are left for next time."""
    places = agrad.randperm(n)
    for start in range(0, n - size + 1, size):
        yield places[start : start + size]


def number(loss, step):
    """The loss as a Python number.

    Raises
    ------
    FloatingPointError
        If it is not finite: before such a loss has reached the weights.
    """
    value = loss.item()
    if not math.isfinite(value):
        raise FloatingPointError(f"the loss is {value} in step {step}")
    return value
