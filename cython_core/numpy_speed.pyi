"""Types of the short cuts for NumPy arrays."""

from typing import Any

from agrad.cython_core.engine import Backend

def matmul(x1: Any, x2: Any, /) -> Any: ...
def install(backend: Backend) -> None: ...
