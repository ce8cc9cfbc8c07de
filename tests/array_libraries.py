"""The array libraries that tests run on, for modules that choose among them; most take the fixture `backend`."""

import importlib
import importlib.util
from typing import Any

import numpy as np
import pytest

import agrad

BACKENDS = ("numpy", "torch", "array_api_strict")


def is_installed(library: str) -> bool:
    """Whether a library is there and can be used: CuPy needs a device."""
    if importlib.util.find_spec(library) is None:
        return False
    return library != "cupy" or importlib.import_module("cupy").cuda.is_available()


def values(t: agrad.Tensor) -> Any:
    """A tensor's values as a NumPy array."""
    return t.detach().numpy()


def own_array(backend: str, data: Any) -> Any:
    """An array of a backend's library, made without agrad."""
    library = pytest.importorskip(backend)
    return library.asarray(np.array(data)) if backend != "numpy" else np.array(data)


def on(backend: str, data: Any, **kwargs: Any) -> agrad.Tensor:
    """A tensor on a backend."""
    pytest.importorskip(backend)
    with agrad.use_backend(backend):
        return agrad.tensor(data, dtype=agrad.float64, **kwargs)
