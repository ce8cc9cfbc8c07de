"""Types of the short cuts for NumPy arrays."""

from agrad.cython_core.engine import Backend

def install(backend: Backend) -> None: ...
