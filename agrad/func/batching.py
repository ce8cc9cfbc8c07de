"""`vmap`: a function of one sample, run on a batch of them at once.

The batch is an axis that the function does not see: inside a level of the transform's own it is the first axis of what
lies below. Must know no backend and no rule.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

from agrad import levels, random
from agrad.cython_core import engine
from agrad.cython_core.engine import Tensor
from agrad.func.pytrees import LEAF, StructureError, flatten, leaves_of, spread, unflatten

RANDOMNESS = ("error", "different", "same")


def vmap(
    func: Callable[..., Any], in_dims: Any = 0, out_dims: Any = 0, randomness: str = "error", *,
    chunk_size: int | None = None,
) -> Callable[..., Any]:
    """A function that maps `func` over an axis of its arguments.

    Parameters
    ----------
    func : callable
        Gives a Tensor or a nest of containers of them.
    in_dims : int, None, or a tuple of nests of them
        The axis of each argument to map over; None: the argument is the same for all. It may end early: what stands
        for a container counts for all that is in it. Keyword arguments are the same for all.
    out_dims : int, None, or a nest of them
        Where the axis goes in the outputs; None: not batched, given as it is.
    randomness : {"error", "different", "same"}
        What random functions do inside: raise, draw for each sample, or draw once for all.
    chunk_size : int, optional
        How many samples to take at once, to save memory. Default: all.

    Returns
    -------
    callable

    Raises
    ------
    ValueError
        When called, if the axes do not fit the arguments or the outputs.

    Examples
    --------
    >>> import agrad
    >>> agrad.func.vmap(agrad.linalg.vecdot)(agrad.ones((3, 2)), agrad.ones((3, 2)))
    tensor([2., 2., 2.])
    """
    if randomness not in RANDOMNESS:
        raise RuntimeError(
            f"Only allowed values for randomness are 'error', 'different', or 'same'. Got {randomness}"
        )
    if chunk_size is not None and chunk_size <= 0:
        raise ValueError(f"vmap: chunk_size should be None or greater than 0. (got {chunk_size})")

    @functools.wraps(func)
    def mapped(*args: Any, **kwargs: Any) -> Any:
        _check_out_dims(func, out_dims)
        flat, structure, dims, size = _batched_inputs(func, in_dims, args)
        if chunk_size is None or size <= chunk_size:
            outputs, out_structure, _ = _run(func, flat, structure, dims, size, out_dims, randomness, kwargs)
        else:
            outputs, out_structure = _run_in_chunks(
                func, flat, structure, dims, size, out_dims, randomness, kwargs, chunk_size
            )
        return unflatten(out_structure, outputs)

    return mapped


def _run(
    func: Callable[..., Any], flat: Sequence[Any], structure: Any, dims: Sequence[int | None], size: int,
    out_dims: Any, randomness: str, kwargs: dict[str, Any],
) -> tuple[list[Any], Any, list[Any]]:
    """Outputs with their batch axis in place, their structure, and where the axis is in each."""
    with levels.entered("batch", size=size, randomness=randomness) as level:
        inside = [
            x if dim is None else engine.wrap_level(level, x if dim == 0 else _move(x, dim, 0))
            for x, dim in zip(flat, dims, strict=True)
        ]
        output = func(*unflatten(structure, inside), **kwargs)
        outputs, out_structure = ([None], LEAF) if output is None else flatten(output)
        places = _places(func, out_dims, out_structure)
        outputs = [_unbatched(func, level, size, t, dim) for t, dim in zip(outputs, places, strict=True)]
    return outputs, out_structure, places


def _run_in_chunks(
    func: Callable[..., Any], flat: Sequence[Any], structure: Any, dims: Sequence[int | None], size: int,
    out_dims: Any, randomness: str, kwargs: dict[str, Any], chunk_size: int,
) -> tuple[list[Any], Any]:
    parts = []
    before = random.get_rng_state() if randomness == "same" else None
    for start in range(0, size, chunk_size):
        stop = min(start + chunk_size, size)
        if before is not None:
            random.set_rng_state(before)
        piece = [
            x if dim is None else x[(slice(None),) * dim + (slice(start, stop),)]
            for x, dim in zip(flat, dims, strict=True)
        ]
        outputs, out_structure, places = _run(
            func, piece, structure, dims, stop - start, out_dims, randomness, kwargs
        )
        parts.append(outputs)
    concat = engine.find_op("concat").function
    joined = [
        column[0] if dim is None else concat(list(column), axis=dim)
        for column, dim in zip(zip(*parts, strict=True), places, strict=True)
    ]
    return joined, out_structure


def _batched_inputs(
    func: Callable[..., Any], in_dims: Any, args: tuple[Any, ...]
) -> tuple[list[Any], Any, list[int | None], int]:
    """The leaves of the arguments, their structure, the axis of each, and the size of the batch."""
    if not isinstance(in_dims, (int, tuple)):
        raise ValueError(
            f"vmap({_name(func)}, in_dims={in_dims}, ...)(<inputs>): expected `in_dims` to be int or a (potentially "
            f"nested) tuple matching the structure of inputs, got: {type(in_dims)}."
        )
    if not args:
        raise ValueError(
            f"vmap({_name(func)})(<inputs>): got no inputs. Maybe you forgot to add inputs, or you are trying to vmap "
            "over a function with no inputs. The latter is unsupported."
        )
    flat, structure = flatten(args)
    try:
        dims = spread(structure, in_dims)
    except StructureError:
        raise ValueError(
            f"vmap({_name(func)}, in_dims={in_dims}, ...)(<inputs>): in_dims is not compatible with the structure of "
            f"`inputs`. in_dims has structure {flatten(in_dims)[1]} but inputs has structure {structure}."
        ) from None
    sizes = []
    for i, (x, dim) in enumerate(zip(flat, dims, strict=True)):
        if dim is not None:
            dims[i] = _checked_dim(func, in_dims, x, dim)
            sizes.append(x.shape[dim])
    if not sizes:
        raise ValueError("vmap: Expected at least one Tensor to vmap over")
    if any(size != sizes[0] for size in sizes[1:]):
        raise ValueError(
            "vmap: Expected all tensors to have the same size in the mapped dimension, got sizes "
            f"{sizes} for the mapped dimension"
        )
    return flat, structure, dims, sizes[0]


def _checked_dim(func: Callable[..., Any], in_dims: Any, x: Any, dim: Any) -> int:
    """The axis to map an argument over, counted from the front."""
    start = f"vmap({_name(func)}, in_dims={in_dims}, ...)(<inputs>): Got in_dim={dim} for "
    if not isinstance(dim, int):
        raise ValueError(f"{start}an input but in_dim must be either an integer dimension or None.")
    if not isinstance(x, Tensor):
        raise ValueError(
            f"{start}an input but the input is of type {type(x)}. We cannot vmap over non-Tensor arguments, please use "
            "None as the respective in_dim"
        )
    if not -x.ndim <= dim < x.ndim:
        raise ValueError(
            f"{start}some input, but that input is a Tensor of dimensionality {x.ndim} so expected in_dim to satisfy "
            f"-{x.ndim} <= in_dim < {x.ndim}."
        )
    return dim % x.ndim


def _check_out_dims(func: Callable[..., Any], out_dims: Any) -> None:
    if isinstance(out_dims, int):
        return
    if not all(isinstance(dim, int) or dim is None for dim in leaves_of(out_dims)):
        raise ValueError(
            f"vmap({_name(func)}, ..., out_dims={out_dims}): `out_dims` must be an int, None or a python collection "
            "of ints representing where in the outputs the vmapped dimension should appear."
        )


def _places(func: Callable[..., Any], out_dims: Any, structure: Any) -> list[int | None]:
    """Where the batch axis goes in each output."""
    if structure is LEAF and isinstance(out_dims, tuple) and len(out_dims) == 1:
        return list(out_dims)
    try:
        return spread(structure, out_dims)
    except StructureError:
        raise ValueError(
            f"vmap({_name(func)}, ..., out_dims={out_dims})(<inputs>): out_dims is not compatible with the structure "
            f"of `outputs`. out_dims has structure {flatten(out_dims)[1]} but outputs has structure {structure}."
        ) from None


def _unbatched(func: Callable[..., Any], level: Any, size: int, t: Any, dim: int | None) -> Any:
    """An output with the batch as an ordinary axis."""
    if dim is None:
        if not isinstance(t, Tensor):
            return t
        value, _, batched = levels.outside(level, t)
        if batched:
            raise ValueError(
                f"vmap({_name(func)}, ...): `{_name(func)}` can not return a BatchedTensor when out_dim is None"
            )
        return value
    if not isinstance(t, Tensor):
        raise ValueError(
            f"vmap({_name(func)}, ...): `{_name(func)}` must only return Tensors, got type {type(t)}. Did you mean to "
            "set out_dims= to None for output?"
        )
    value = levels.whole(level, size, t)
    if dim == 0:
        return value
    if not -value.ndim <= dim < value.ndim:
        raise IndexError(
            f"Dimension out of range (expected to be in range of [{-value.ndim}, {value.ndim - 1}], but got {dim})"
        )
    return _move(value, 0, dim)


def _move(t: Tensor, source: int, destination: int) -> Tensor:
    return engine.find_op("moveaxis").function(t, source, destination)      # type: ignore[no-any-return]


def _name(func: Any) -> str:
    """What a message calls a function."""
    if hasattr(func, "__name__"):
        return str(func.__name__)
    if isinstance(func, functools.partial):
        return f"functools.partial({_name(func.func)}, ...)"
    return repr(func)
