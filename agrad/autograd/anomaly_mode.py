"""Anomaly mode: which operation of the program a failing or NaN gradient belongs to.

The engine asks for the user's stack whenever it makes a node, and says which node failed. Must know no backend and no
rule.
"""

import warnings
from typing import Self

from agrad.autograd import user_code
from agrad.cython_core import engine
from agrad.cython_core.engine import Node

__all__ = ["detect_anomaly", "is_anomaly_check_nan_enabled", "is_anomaly_enabled", "set_detect_anomaly"]


def _set(anomaly: engine.Anomaly | None) -> None:
    engine.set_mode(engine.get_mode().replace(anomaly=anomaly))


class detect_anomaly:
    """Find the operation whose gradient fails or is NaN: a context for the forward pass and the walk.

    Nodes made inside keep the traceback of the line that made them, in `metadata["traceback_"]`. If a node's rule fails
    during a walk inside, a warning shows it.

    Parameters
    ----------
    check_nan : bool
        Raise where a node returns NaN.

    Examples
    --------
    >>> import agrad, warnings
    >>> warnings.simplefilter("ignore")
    >>> x = agrad.tensor(-1.0, requires_grad=True)
    >>> with agrad.autograd.detect_anomaly():
    ...     agrad.sqrt(x).backward()
    Traceback (most recent call last):
    RuntimeError: Function 'SqrtBackward0' returned nan values in its 0th output.
    """

    def __init__(self, check_nan: bool = True) -> None:
        self._check_nan = check_nan
        self._before: list[engine.Anomaly | None] = []
        warnings.warn(
            "Anomaly Detection has been enabled. This mode will increase the runtime and should only be enabled for "
            "debugging.",
            stacklevel=2,
        )

    def __enter__(self) -> None:
        self._before.append(engine.get_mode().anomaly)
        _set(engine.Anomaly(self._check_nan))

    def __exit__(self, *_: object) -> None:
        _set(self._before.pop())


class set_detect_anomaly:
    """Switch anomaly mode on or off, from the call on; as a context manager, until its end.

    Parameters
    ----------
    mode : bool
        On or off.
    check_nan : bool
        Raise where a node returns NaN.

    Examples
    --------
    >>> import agrad
    >>> with agrad.autograd.set_detect_anomaly(True):
    ...     agrad.is_anomaly_enabled()
    True
    """

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        if not isinstance(mode, bool):
            raise TypeError(f"set_detect_anomaly(): argument 'mode' must be bool, not {type(mode).__name__}")
        self._before = engine.get_mode().anomaly
        _set(engine.Anomaly(check_nan) if mode else None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        _set(self._before)


def is_anomaly_enabled() -> bool:
    """Whether anomaly mode is on.

    Examples
    --------
    >>> import agrad
    >>> agrad.is_anomaly_enabled()
    False
    """
    return engine.get_mode().anomaly is not None


def is_anomaly_check_nan_enabled() -> bool:
    """Whether NaN would be looked for in anomaly mode; so it is unless it was switched off."""
    anomaly = engine.get_mode().anomaly
    return anomaly is None or anomaly.check_nan


def _user_stack() -> list[str]:
    """The stack down to the user's own line, as lines of a traceback."""
    import traceback  # when something is traced, not with agrad

    return traceback.format_stack(user_code.frame().frame)


def _report(node: Node) -> None:
    """Warn where a node was made, and, in double backward, where the nodes were made whose rules made it."""
    level = user_code.frame().above + 1
    stack = node.metadata.get("traceback_")
    if stack is None:
        warnings.warn(
            f"Error detected in {Node.name(node)}. No forward pass information available. Enable detect anomaly during "
            "forward pass for more information.",
            stacklevel=level,
        )
        return
    text = "Traceback of forward call that caused the error:\n"
    warnings.warn(f"Error detected in {Node.name(node)}. {text}{''.join(stack)}", stacklevel=level)
    text = "Traceback of forward call that induced the previous calculation:\n"
    while (parent := node.metadata.get("parent_")) is not None:
        node = parent
        lines = "".join(node.metadata.get("traceback_", ()))
        warnings.warn(f"\n\nPrevious calculation was induced by {Node.name(node)}. {text}{lines}", stacklevel=level)


engine.install_anomaly(_user_stack, _report)
