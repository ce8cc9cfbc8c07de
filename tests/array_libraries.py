"""The array libraries that tests run on, for modules that choose among them; most take the fixture `backend`."""

import importlib.util

BACKENDS = ("numpy", "torch", "array_api_strict")


def is_installed(library: str) -> bool:
    return importlib.util.find_spec(library) is not None
