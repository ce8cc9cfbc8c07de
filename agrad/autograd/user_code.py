"""Where in the user's program agrad was called. Must know no backend and no rule."""

import linecache
import sys
from types import FrameType
from typing import NamedTuple


class UserFrame(NamedTuple):
    """A frame of the user's, how many frames above the asker it is, and the function of agrad it called, "" if none."""

    frame: FrameType
    above: int
    called: str


def frame() -> UserFrame:
    """The innermost frame that is not agrad's own."""
    found, above, called = sys._getframe(1), 0, ""
    while found.f_back is not None and _is_own(found):
        called = found.f_code.co_name if above else ""     # the asker was called by the engine
        found, above = found.f_back, above + 1
    return UserFrame(found, above, called)


def line(of: FrameType | None = None) -> str:
    """The line of the user's frame, or of the one given, as "file:line: code"."""
    of = frame().frame if of is None else of
    code = linecache.getline(of.f_code.co_filename, of.f_lineno).strip()
    return f"{of.f_code.co_filename}:{of.f_lineno}" + (f": {code}" if code else "")


def _is_own(frame: FrameType) -> bool:
    """Whether a frame is agrad's; the examples in its docstrings are not."""
    return frame.f_globals.get("__name__", "").partition(".")[0] == "agrad" and frame.f_code.co_filename[:1] != "<"
