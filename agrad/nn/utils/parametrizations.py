"""Weights computed from others: `weight_norm` and `spectral_norm`."""

from typing import Any

import agrad
from agrad.autograd.grad_mode import no_grad
from agrad.cython_core.engine import Tensor
from agrad.nn.convolution import TransposedConvolution
from agrad.nn.module import Module
from agrad.nn.utils.parametrize import register_parametrization


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """Let a weight be g v / |v|: its length and its direction are trained (Salimans and Kingma, 2016).

    Parameters
    ----------
    module : Module
    name : str
    dim : int, optional
        The axis along which every slice has a length of its own; None for one length.

    Returns
    -------
    Module
        The module itself; its parameters are `parametrizations.weight.original0` (g) and `original1` (v).

    Examples
    --------
    >>> from agrad import nn
    >>> layer = nn.utils.parametrizations.weight_norm(nn.Linear(20, 40))
    >>> layer.parametrizations.weight.original0.shape
    (40, 1)
    """
    return register_parametrization(module, name, _WeightNorm(dim), unsafe=True)


class _WeightNorm(Module):
    def __init__(self, dim: int | None) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, g: Tensor, v: Tensor) -> Any:
        return v * (g / self._lengths(v))

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        return self._lengths(weight), weight

    def _lengths(self, v: Tensor) -> Any:
        if self.dim is None or self.dim == -1:      # PyTorch's -1 is not the last axis
            return agrad.linalg.vector_norm(v)
        others = tuple(axis for axis in range(v.ndim) if axis != self.dim)
        return agrad.linalg.vector_norm(v, axis=others, keepdims=True)


def spectral_norm(
    module: Module, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None
) -> Module:
    """Divide a weight by its largest singular value, as the power method estimates it (Miyato et al., 2018).

    Parameters
    ----------
    module : Module
    name : str
    n_power_iterations : int
        Steps of the power method each time that the weight is used in training.
    eps : float
        The least length that is divided by.
    dim : int, optional
        The axis of outputs; default 0, and 1 for transposed convolutions. All other axes count as one.

    Returns
    -------
    Module
        The module itself; its parameter is `parametrizations.weight.original`.

    Raises
    ------
    ValueError
        If there is no such weight, or the number of steps is not positive.
    IndexError
        If the weight has no such axis.

    Examples
    --------
    >>> import agrad
    >>> from agrad import nn
    >>> layer = nn.utils.parametrizations.spectral_norm(nn.Linear(20, 40), n_power_iterations=50)
    >>> agrad.allclose(agrad.linalg.matrix_norm(layer.weight, ord=2), agrad.asarray(1.0), rtol=1e-2)
    True
    """
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ValueError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    if dim is None:
        dim = 1 if isinstance(module, TransposedConvolution) else 0
    return register_parametrization(module, name, _SpectralNorm(weight, n_power_iterations, dim, eps))


class _SpectralNorm(Module):
    _u: Any     # the first left singular vector, about
    _v: Any     # the first right one

    def __init__(self, weight: Tensor, n_power_iterations: int, dim: int, eps: float) -> None:
        super().__init__()
        if not -weight.ndim <= dim < weight.ndim:
            raise IndexError(
                f"Dimension out of range (expected to be in range of [{-weight.ndim}, {weight.ndim - 1}] but got {dim})"
            )
        if n_power_iterations <= 0:
            raise ValueError(
                f"Expected n_power_iterations to be positive, but got n_power_iterations={n_power_iterations}"
            )
        self.n_power_iterations, self.dim, self.eps = n_power_iterations, dim % weight.ndim, eps
        if weight.ndim > 1:
            matrix = self._matrix(weight.detach())
            for vector, length in (("_u", matrix.shape[0]), ("_v", matrix.shape[1])):
                drawn = agrad.randn(length).to(backend=weight.backend_.name, dtype=weight.dtype, device=weight.device)
                self.register_buffer(vector, self._unit(drawn))
            self._run_power_method(matrix, 15)

    def _matrix(self, weight: Tensor) -> Any:
        """The weight with its outputs along the first axis, and one other axis."""
        first = agrad.moveaxis(weight, self.dim, 0)
        return agrad.reshape(first, (first.shape[0], -1))

    def _unit(self, vector: Any) -> Any:
        return vector / agrad.clip(agrad.linalg.vector_norm(vector), min=self.eps)

    def _run_power_method(self, matrix: Any, steps: int) -> None:
        """Bring the two vectors nearer to the first singular vectors; new tensors, so that graphs keep the old."""
        with no_grad():
            for _ in range(steps):
                self._u = self._unit(matrix @ self._v)
                self._v = self._unit(agrad.conj(matrix.mT) @ self._u)

    def forward(self, weight: Tensor) -> Tensor:
        if weight.ndim == 1:
            return self._unit(weight)  # type: ignore[no-any-return]
        matrix = self._matrix(weight)
        if self.training:
            self._run_power_method(matrix.detach(), self.n_power_iterations)
        return weight / agrad.vecdot(self._u, matrix @ self._v)

    def right_inverse(self, value: Tensor) -> Tensor:
        return value
