"""PyTorch's spellings: one table of names whose meaning is exactly an op's, one of keyword forms that ops do not know.

The forms are `dim=`, `keepdim=`, `alpha=` and their like. A call with `dim` or `keepdim` means PyTorch's function,
results and defaults. Must know no backend and no rule.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from agrad import standard
from agrad.creation import convert, python_signature
from agrad.cython_core import engine
from agrad.cython_core.engine import Tensor

# PyTorch's name -> the standard's. Same meaning, same argument order.
ALIASES = {
    "absolute": "abs", "arccos": "acos", "arccosh": "acosh", "arcsin": "asin", "arcsinh": "asinh", "arctan": "atan",
    "arctan2": "atan2", "arctanh": "atanh", "bitwise_not": "bitwise_invert", "conj_physical": "conj", "mul": "multiply",
    "sub": "subtract", "div": "divide", "true_divide": "divide", "neg": "negative", "eq": "equal", "ne": "not_equal",
    "lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal", "fix": "trunc", "clamp": "clip",
    "cat": "concat", "concatenate": "concat", "cumsum": "cumulative_sum",
    "cumprod": "cumulative_prod", "permute": "permute_dims", "unsqueeze": "expand_dims", "movedim": "moveaxis",
    "unbind": "unstack", "mm": "matmul", "bmm": "matmul", "mv": "matmul", "dot": "matmul", "clone": "copy",
    "cholesky": "linalg.cholesky", "det": "linalg.det", "ger": "linalg.outer", "inverse": "linalg.inv",
    "matrix_power": "linalg.matrix_power", "outer": "linalg.outer", "pinverse": "linalg.pinv",
    "slogdet": "linalg.slogdet", "trace": "linalg.trace",
}

# Keywords that only have another name: PyTorch's -> the standard's, the first of them that the op has.
RENAMED = {
    "dim": ("axis", "axes"), "keepdim": ("keepdims",), "dims": ("axis", "axes"), "input": ("x", "x1"), "other": ("x2",),
    "tensors": ("arrays",), "index": ("indices",), "sorted_sequence": ("x1",), "exponent": ("x2",),
    "unbiased": ("correction",), "diagonal": ("k",), "shifts": ("shift",),
}


class MinMax(NamedTuple):
    """What `max(x, dim=0)` and its like return."""

    values: Tensor
    indices: Tensor


def op(name: str) -> Callable[..., Any]:
    """The public function of an op."""
    return engine.find_op(name).function


def torch_call(name: str) -> Callable[..., Any]:
    """What an op calls with arguments that its signature does not know."""
    def foreign(suffix: str, args: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        if suffix:      # an in-place method: only renamed keywords
            return inplace_call(name, args, keywords)
        form = FORMS.get(name)
        if form is not None:
            result = form(args, dict(keywords))
            if result is not NotImplemented:
                return result
        renamed = rename(name, keywords)
        return NotImplemented if renamed is None else op(name)(*args, **renamed)

    return foreign


def rename(name: str, keywords: dict[str, Any]) -> dict[str, Any] | None:
    """The keywords under the op's own names; None if one stays unknown or none was changed."""
    parameters = engine.find_op(name).parameters
    renamed = {}
    for key, value in keywords.items():
        new = next((name for name in (key, *RENAMED.get(key, ())) if name in parameters), None)
        if new is None or new in renamed:
            return None
        renamed[new] = value
    return None if renamed.keys() == keywords.keys() else renamed


def inplace_call(name: str, args: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    """x.add_(y, alpha=2) and renamed keywords."""
    alpha = keywords.pop("alpha", None)
    if alpha is not None and name in ("add", "subtract") and len(args) == 2:
        return getattr(args[0], name + "_")(args[1] * alpha)
    if name == "scatter_add":
        return args[0].scatter_add_(*places_and_values(*args[1:], x=args[0], **keywords))
    renamed = rename(name, keywords)
    return NotImplemented if renamed is None else getattr(args[0], name + "_")(*args[1:], **renamed)


# --------------------------------------------------------------------------------------- forms that mean something else


def alpha_form(name: str) -> Callable[..., Any]:
    """add(x, y, alpha=2)."""
    def form(args: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        alpha = keywords.pop("alpha", None)
        if alpha is None:
            return NotImplemented
        x, y = (*args, *(keywords[k] for k in ("input", "other") if k in keywords))
        return op(name)(x, y * alpha)

    return form


def divide_form(args: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    """div(x, y, rounding_mode=...)."""
    if "rounding_mode" not in keywords:
        return NotImplemented
    modes = {None: lambda q: q, "trunc": op("trunc"), "floor": op("floor")}
    mode = keywords.pop("rounding_mode")
    if mode not in modes:
        raise RuntimeError(f"div expected rounding_mode to be one of None, 'trunc', or 'floor' but found '{mode}'")
    return modes[mode](op("divide")(*args, *keywords.values()))


def extremum_form(name: str) -> Callable[..., Any]:
    """max(x, dim=0): values and indices; the gradient goes to the chosen index."""
    def form(args: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        if "dim" not in keywords and "keepdim" not in keywords:
            return NotImplemented
        x = args[0] if args else keywords.pop("input")
        axis = keywords.pop("dim", args[1] if len(args) > 1 else None)
        keepdims = keywords.pop("keepdim", False)
        if keywords or axis is None:
            return NotImplemented
        return MinMax(*op("extremum")(x, axis, keepdims=keepdims, largest=name == "max"))

    return form


def amax(x: Tensor, dim: Any = None, keepdim: bool = False, *, axis: Any = None, keepdims: bool = False) -> Tensor:
    """The largest element along axes; equal ones share the gradient.

    Examples
    --------
    >>> import agrad
    >>> agrad.amax(agrad.tensor([[1.0, 2.0], [3.0, 0.0]]), dim=1)
    tensor([2., 3.])
    """
    return op("max")(x, axis=dim if axis is None else axis, keepdims=keepdim or keepdims)  # type: ignore[no-any-return]


def amin(x: Tensor, dim: Any = None, keepdim: bool = False, *, axis: Any = None, keepdims: bool = False) -> Tensor:
    """The smallest element along axes; equal ones share the gradient.

    Examples
    --------
    >>> import agrad
    >>> agrad.amin(agrad.tensor([[1.0, 2.0], [3.0, 0.0]]), dim=1)
    tensor([1., 0.])
    """
    return op("min")(x, axis=dim if axis is None else axis, keepdims=keepdim or keepdims)  # type: ignore[no-any-return]


def spread_form(name: str) -> Callable[..., Any]:
    """std(x, dim=0): correction 1."""
    def form(args: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        if not {"dim", "keepdim", "unbiased"} & keywords.keys():
            return NotImplemented
        correction = keywords.pop("correction", 1)
        if "unbiased" in keywords:
            correction = int(bool(keywords.pop("unbiased")))
        return op(name)(*args, correction=correction, **(rename(name, keywords) or keywords))

    return form


def sort_form(args: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    """sort(x, dim=-1): values and indices."""
    if "dim" not in keywords:
        return NotImplemented
    axis = keywords.pop("dim")
    indices = op("argsort")(*args, axis=axis, **keywords)
    return MinMax(op("take_along_axis")(args[0], indices, axis=axis), indices)


def like_form(name: str) -> Callable[..., Any]:
    """zeros_like(x, requires_grad=True)."""
    def form(args: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        if "requires_grad" not in keywords:
            return NotImplemented
        tracked = keywords.pop("requires_grad")
        made = op(name)(*args, **keywords)
        return made.requires_grad_() if tracked else made

    return form


def squeeze_form(args: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    """squeeze(x): all axes of length 1."""
    axis = keywords.pop("dim", None)
    if keywords or len(args) != 1:
        return NotImplemented
    return squeeze(args[0], dim=axis)


def squeeze(x: Tensor, axis: Any = None, *, dim: Any = None) -> Tensor:
    """Remove axes of length 1: those given, or all. With PyTorch's `dim`, those among the given ones that are short."""
    if axis is not None:
        return op("squeeze")(x, axis)   # type: ignore[no-any-return]
    axes = range(x.ndim) if dim is None else (dim,) if isinstance(dim, int) else dim
    short = tuple(a for a in axes if x.shape[a] == 1)
    return op("squeeze")(x, short) if short else x


def round_form(args: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    """round(x, decimals=2)."""
    if "decimals" not in keywords:
        return NotImplemented
    decimals = keywords.pop("decimals")
    x = args[0] if args else keywords.pop("input")
    factor = 10.0 ** abs(decimals)
    return op("round")(x * factor) / factor if decimals >= 0 else op("round")(x / factor) * factor


def scatter_add_form(args: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    """scatter_add(x, dim, index, src): element by element along one axis."""
    keywords = {"x" if key == "input" else key: value for key, value in keywords.items()}
    x = args[0] if args else keywords.pop("x")
    return op("scatter_add")(x, *places_and_values(*args[1:], x=x, **keywords))


def places_and_values(dim: int, index: Tensor, src: Tensor, *, x: Tensor) -> tuple[Any, Tensor]:
    """The key and the values that PyTorch's scatter_add means: `src` as far as `index` goes, each element's place."""
    if not len(index.shape) == len(src.shape) == x.ndim:
        raise RuntimeError("Index tensor must have the same number of dimensions as self and src tensor")
    if any(n > m for n, m in zip(index.shape, src.shape, strict=True)):
        raise RuntimeError(f"Expected index {list(index.shape)} to be no larger than src {list(src.shape)}")
    key: list[Any] = []
    for axis, n in enumerate(index.shape):
        places = convert(range(n), device=index.device, backend=index.backend_)
        key.append(op("reshape")(places, (-1,) + (1,) * (x.ndim - 1 - axis)))
    key[dim] = index
    return tuple(key), src[tuple(slice(0, n) for n in index.shape)]


def split(input: Tensor, split_size_or_sections: int | Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Parts along an axis, as views: all of one length but the last, or of the given lengths.

    Raises
    ------
    ValueError
        If the lengths do not add up to that of the axis, or one is negative.

    Examples
    --------
    >>> import agrad
    >>> agrad.split(agrad.arange(5), 2)
    (tensor([0, 1]), tensor([2, 3]), tensor([4]))
    """
    n = input.shape[dim]
    if isinstance(split_size_or_sections, int):
        size = split_size_or_sections
        if size < 0 or (size == 0 and n):
            raise ValueError(f"split expects a length of at least 1, but got {size}")
        lengths: Sequence[int] = [min(size, n - start) for start in range(0, n, size or 1)] or [0]
    else:
        lengths = split_size_or_sections
        if sum(lengths) != n or min(lengths, default=0) < 0:
            raise ValueError(f"split expects lengths that add up to {n} (axis {dim}), but got {list(lengths)}")
    before, start, parts = (slice(None),) * (dim % input.ndim), 0, []
    for length in lengths:
        parts.append(input[(*before, slice(start, start + length))])
        start += length
    return tuple(parts)


def chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """At most so many parts along an axis, as views: all of one length but the last.

    Examples
    --------
    >>> import agrad
    >>> agrad.chunk(agrad.arange(5), 2)
    (tensor([0, 1, 2]), tensor([3, 4]))
    """
    if chunks <= 0:
        raise ValueError(f"chunk expects at least 1 part, but got {chunks}")
    n = input.shape[dim]
    return split(input, [0] * chunks if n == 0 else -(-n // chunks), dim)


def norm(input: Tensor, p: Any = "fro", dim: Any = None, keepdim: bool = False) -> Tensor:
    """The p-norm of the elements, over all axes or those given; "fro" is 2. Matrices: `agrad.linalg.matrix_norm`.

    Examples
    --------
    >>> import agrad
    >>> agrad.norm(agrad.tensor([3.0, 4.0]))
    tensor(5.)
    """
    if isinstance(p, str) and p != "fro":
        raise ValueError(f"norm expects a number or 'fro' for p, not {p!r}; of matrices: agrad.linalg.matrix_norm")
    axis = tuple(dim) if isinstance(dim, list) else dim
    vector_norm = op("linalg.vector_norm")
    return vector_norm(input, axis=axis, keepdims=keepdim, ord=2 if p == "fro" else p)  # type: ignore[no-any-return]


def sigmoid(input: Tensor) -> Tensor:
    """1 / (1 + exp(-input)), SciPy's `expit`.

    Examples
    --------
    >>> import agrad
    >>> agrad.sigmoid(agrad.tensor([-1000.0, 0.0, 1000.0]))
    tensor([0.0000, 0.5000, 1.0000])
    """
    return op("special.expit")(input)  # type: ignore[no-any-return]


def take_along_dim(x: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """The elements at indices along an axis; of all elements along one axis if none is given.

    Examples
    --------
    >>> import agrad
    >>> x = agrad.tensor([[3.0, 1.0], [2.0, 4.0]])
    >>> agrad.take_along_dim(x, agrad.argsort(x, axis=1), dim=1)
    tensor([[1., 3.],
            [2., 4.]])
    """
    if dim is None:
        x, indices, dim = op("reshape")(x, (-1,)), op("reshape")(indices, (-1,)), 0
    return op("take_along_axis")(x, indices, axis=dim)  # type: ignore[no-any-return]


FORMS: dict[str, Callable[..., Any]] = {
    "add": alpha_form("add"), "subtract": alpha_form("subtract"), "divide": divide_form,
    "max": extremum_form("max"), "min": extremum_form("min"), "sort": sort_form,
    "std": spread_form("std"), "var": spread_form("var"), "squeeze": squeeze_form,
    "round": round_form, "scatter_add": scatter_add_form,
    **{name: like_form(name) for name in ("zeros_like", "ones_like", "empty_like", "full_like")},
}
squeeze.__signature__ = python_signature(standard.signature("squeeze"))  # type: ignore[attr-defined]
