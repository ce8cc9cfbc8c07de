"""Where time and memory go: `profile` measures operations forward and backward, `record_function` names parts."""

from agrad.profiler.averages import Averages
from agrad.profiler.events import Event, Row
from agrad.profiler.profiling import profile, record_function

__all__ = ["Averages", "Event", "Row", "profile", "record_function"]
