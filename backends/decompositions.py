"""Results of decompositions under the standard's field names, whatever a library calls them. Must know no library."""

from collections.abc import Callable
from typing import Any, NamedTuple


class EigResult(NamedTuple):
    """What `linalg.eig` returns."""

    eigenvalues: Any
    eigenvectors: Any


class EighResult(NamedTuple):
    """What `linalg.eigh` returns."""

    eigenvalues: Any
    eigenvectors: Any


class QRResult(NamedTuple):
    """What `linalg.qr` returns."""

    Q: Any
    R: Any


class SlogdetResult(NamedTuple):
    """What `linalg.slogdet` returns."""

    sign: Any
    logabsdet: Any


class SVDResult(NamedTuple):
    """What `linalg.svd` returns."""

    U: Any
    S: Any
    Vh: Any


RESULTS: dict[str, Callable[..., Any]] = {
    "linalg.eig": EigResult, "linalg.eigh": EighResult, "linalg.qr": QRResult, "linalg.slogdet": SlogdetResult,
    "linalg.svd": SVDResult,
}


def kernel(name: str, found: Callable[..., Any] | None) -> Callable[..., Any] | None:
    """A library's function with its results named; any other as it is."""
    named = RESULTS.get(name)
    if named is None or found is None:
        return found

    def decompose(x: Any, /, **options: Any) -> Any:
        return named(*found(x, **options))

    return decompose
