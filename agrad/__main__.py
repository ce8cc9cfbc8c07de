"""The command line: ``agrad demo``, ``agrad info`` and ``agrad coverage``, also as ``python -m agrad``.

It only asks and prints. What a command needs is imported when that command runs.
"""

import argparse
import json
import platform
import sys
from collections.abc import Iterable, Sequence
from contextlib import ExitStack

import agrad
from agrad import configuration
from agrad._version import __version__

# What a backend, a device or a configured value that cannot be used may raise.
_UNUSABLE = (ImportError, LookupError, RuntimeError, TypeError, ValueError)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Parameters
    ----------
    arguments : sequence of str, optional
        The words after the program's name; those of this process if left out.

    Examples
    --------
    >>> from agrad.__main__ import main
    >>> main(["info"])  # doctest: +SKIP
    0
    """
    options = _parser().parse_args(arguments)
    if options.command == "info":
        return info()
    if options.command == "coverage":
        return coverage(options.namespace, options.backend, options.json)
    return demo(options.backend, options.device, options.steps, options.seed)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="agrad", description="Automatic differentiation for every array library.")
    parser.add_argument("--version", action="version", version=f"agrad {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")

    commands.add_parser("info", help="say what is installed and how it is configured")

    options = commands.add_parser("coverage", help="say which functions of a namespace have a derivative, per backend")
    options.add_argument("--backend", help="only this one; all that are installed if left out")
    options.add_argument("--namespace", default="array_api", help="array_api, numpy, scipy.special or torch")
    options.add_argument("--json", action="store_true", help="print JSON instead of a table")

    options = commands.add_parser("demo", help="train a small classifier on handwritten digits and check its gradient")
    options.add_argument("--backend", help="numpy, torch, array_api_strict, ...; the configured one if left out")
    options.add_argument("--device", help="a device of that backend, such as cuda:0")
    options.add_argument("--steps", type=_positive, help="how many batches to train on")
    options.add_argument("--seed", type=_natural, help="decides the split, the first weights and the batches")
    return parser


def _natural(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a whole number, not {text!r}")
    return int(text)


def _positive(text: str) -> int:
    if not _natural(text):
        raise argparse.ArgumentTypeError("expected at least 1")
    return int(text)


# ---- agrad demo ------------------------------------------------------------------------------------------------------


def demo(backend: str | None, device: str | None, steps: int | None, seed: int | None) -> int:
    """Train the small classifier on the backend and device asked for; None stands for the default."""
    with ExitStack() as scope:
        try:
            if backend is not None or device is not None:
                scope.enter_context(agrad.use_backend(backend or agrad.get_default_backend(), device=device))
            agrad.zeros(())  # what cannot be used shows here, not in the middle of a program
        except _UNUSABLE as error:
            return _complain("demo", str(error.args[0] if error.args else error))
        try:
            from agrad import demo as program
        except ModuleNotFoundError as error:
            if str(error.name).partition(".")[0] not in ("sklearn", "tqdm"):
                raise
            return _complain("demo", "it needs scikit-learn and tqdm: pip install 'agrad[demo]'")
        return program.main(
            program.STEPS if steps is None else steps,
            program.SEED if seed is None else seed,
        )


def _complain(command: str, message: str) -> int:
    print(f"agrad {command}: {message}", file=sys.stderr)
    return 2


# ---- agrad coverage --------------------------------------------------------------------------------------------------


def coverage(namespace: str, backend: str | None, as_json: bool) -> int:
    """Print which functions of a namespace have a derivative; return 2 for a namespace or backend that is not there."""
    from agrad import coverage as report

    try:
        found = report.coverage(namespace, backend)
    except (ImportError, ValueError) as error:
        return _complain("coverage", str(error))
    print(json.dumps(found, indent=1) if as_json else report.table(found))
    return 0


# ---- agrad info ------------------------------------------------------------------------------------------------------


def info() -> int:
    """Print what is installed and how it is configured; return 2 where the configuration cannot be read, else 0."""
    print(f"agrad {__version__}")
    print(f"Python {platform.python_version()} ({platform.python_implementation()}), {platform.platform()}")
    _print_table("Backends", _backend_rows())
    _print_table("Plugins", _plugin_rows())
    try:
        rows = [_setting_row(setting) for setting in configuration.describe()]
    except ValueError as error:
        return _complain("info", str(error))
    _print_table("Configuration", rows)
    return 0


def _backend_rows() -> Iterable[tuple[str, ...]]:
    from agrad import backends

    for backend in backends.available():
        if backend.installed:
            yield backend.name, f"{backend.distribution} {backend.version or ''}".rstrip(), backend.reason or ""
        else:
            yield backend.name, "not installed", "; ".join(filter(None, (backend.reason, backend.install)))


def _plugin_rows() -> Iterable[tuple[str, ...]]:
    from agrad import rules

    for plugin in rules.plugins():
        found = f"broken: {plugin.error}" if plugin.error else "" if plugin.ops is None else f"{plugin.ops} ops"
        yield plugin.name, f"{plugin.distribution} {plugin.version or ''}".rstrip(), found


def _setting_row(setting: configuration.Setting) -> tuple[str, ...]:
    if setting.value is None:
        value = "the backend's default"
    elif isinstance(setting.value, tuple):
        value = ", ".join(setting.value) or "none"
    else:
        value = str(setting.value)
    return setting.name, value, setting.source


def _print_table(title: str, rows: Iterable[tuple[str, ...]]) -> None:
    """Print rows under a title, each column as wide as its widest cell."""
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    print(f"\n{title}")
    for row in rows or [("none",)]:
        print("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths or [0], strict=True)).rstrip())


if __name__ == "__main__":
    sys.exit(main())
