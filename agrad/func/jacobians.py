"""`jacrev`, `jacfwd` and `hessian`: whole Jacobians, all rows or all columns in one go.

Must know no backend and no rule.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import Any

from agrad.cython_core import engine
from agrad.cython_core.engine import Tensor
from agrad.func.batching import vmap
from agrad.func.forward import push_forward
from agrad.func.pytrees import flatten, leaves_of, unflatten
from agrad.func.reverse import ArgNums, chosen_arguments, make_vjp


def jacrev(
    func: Callable[..., Any], argnums: ArgNums = 0, *, has_aux: bool = False, chunk_size: int | None = None
) -> Callable[..., Any]:
    """A function that gives the Jacobian of `func`, by reverse mode: row by row, all rows at once.

    Parameters
    ----------
    func : callable
        Gives a Tensor or a nest of containers of them.
    argnums : int or tuple of int
        The arguments to differentiate by.
    has_aux : bool
        `func` gives a pair (output, aux); aux is handed on.
    chunk_size : int, optional
        How many rows to compute at once, to save memory; 1 maps nothing. Default: all.

    Returns
    -------
    callable
        Gives, for each output and each chosen argument, a Tensor with the axes of the output and then those of the
        argument; with `has_aux` the pair (jacobian, aux).

    Raises
    ------
    ValueError
        If `chunk_size` is not positive.
    RuntimeError
        When called with complex Tensors.

    Examples
    --------
    >>> import agrad
    >>> agrad.func.jacrev(agrad.square)(agrad.tensor([1.0, 2.0]))
    tensor([[2., 0.],
            [0., 4.]])
    """
    _check_chunk_size(chunk_size, "jacrev")

    @functools.wraps(func)
    def jacobian(*args: Any) -> Any:
        _refuse_complex("jacrev", args, "inputs")
        output, vjp_fn, aux = make_vjp(func, args, argnums, has_aux)
        flat_outputs, out_structure = flatten(output)
        _refuse_complex("jacrev", output, "outputs")
        chosen = tuple(args[i] for i in chosen_arguments(argnums, len(args)))
        inputs, in_structure = flatten(chosen[0] if isinstance(argnums, int) else chosen)

        def rows(*cotangents: Tensor) -> tuple[Tensor, ...]:
            return tuple(leaves_of(vjp_fn(unflatten(out_structure, cotangents))))

        columns = _apply_to_basis(rows, flat_outputs, chunk_size)
        blocks = [split(column, flat_outputs) for column in columns]
        found = [
            unflatten(in_structure, [
                _reshape(blocks[j][i], (*y.shape, *x.shape)) for j, x in enumerate(inputs)
            ])
            for i, y in enumerate(flat_outputs)
        ]
        result = unflatten(out_structure, found)
        return (result, aux) if has_aux else result

    return jacobian


def jacfwd(
    func: Callable[..., Any], argnums: ArgNums = 0, has_aux: bool = False, *, randomness: str = "error",
    chunk_size: int | None = None,
) -> Callable[..., Any]:
    """A function that gives the Jacobian of `func`, by forward mode: column by column, all columns at once.

    Parameters
    ----------
    func, argnums, has_aux
        As for `jacrev`.
    randomness : {"error", "different", "same"}
        As for `vmap`, over the columns.
    chunk_size : int, optional
        How many columns to compute at once, to save memory. Default: all.

    Returns
    -------
    callable
        As `jacrev`.

    Examples
    --------
    >>> import agrad
    >>> agrad.func.jacfwd(agrad.square)(agrad.tensor([1.0, 2.0]))
    tensor([[2., 0.],
            [0., 4.]])
    """
    _check_chunk_size(chunk_size, "jacfwd")

    @functools.wraps(func)
    def jacobian(*args: Any) -> Any:
        _refuse_complex("jacfwd", args, "inputs")
        chosen = tuple(args[i] for i in chosen_arguments(argnums, len(args)))
        inputs, in_structure = flatten(chosen)
        known: list[Any] = []       # what does not depend on the tangent: the structure of the output, and aux

        def columns(*tangents: Tensor) -> tuple[Any, ...]:
            value, tangent, aux = push_forward(
                func, args, unflatten(in_structure, tangents), argnums, False, has_aux
            )
            _refuse_complex("jacfwd", value, "outputs")
            flat, structure = flatten(tangent)
            flat_aux, aux_structure = flatten(aux)
            known[:] = [structure, aux_structure, len(flat)]
            return (*flat, *flat_aux)

        results = _apply_to_basis(columns, inputs, chunk_size, randomness)
        structure, aux_structure, n = known
        one = isinstance(argnums, int)
        found = []
        for column in results[:n]:
            shape = column.shape[1:]
            parts = [
                _reshape(_last(part), (*shape, *x.shape))
                for part, x in zip(split(column, inputs), inputs, strict=True)
            ]
            tree = unflatten(in_structure, parts)
            found.append(tree[0] if one else tree)
        result = unflatten(structure, found)
        return (result, unflatten(aux_structure, [one[0] for one in results[n:]])) if has_aux else result

    return jacobian


def hessian(func: Callable[..., Any], argnums: ArgNums = 0) -> Callable[..., Any]:
    """A function that gives the second derivatives of `func`: forward mode over reverse mode.

    Parameters
    ----------
    func, argnums
        As for `jacrev`.

    Returns
    -------
    callable
        As `jacfwd(jacrev(func))`.

    Examples
    --------
    >>> import agrad
    >>> agrad.func.hessian(lambda x: agrad.sum(x ** 3))(agrad.tensor([1.0, 2.0]))
    tensor([[ 6.,  0.],
            [ 0., 12.]])
    """
    return jacfwd(jacrev(func, argnums), argnums)


def _apply_to_basis(
    linear: Callable[..., tuple[Any, ...]], like: Sequence[Tensor], chunk_size: int | None, randomness: str = "error"
) -> list[Tensor]:
    """A linear function of these tensors applied to each vector of the standard basis, results stacked."""
    total = sum(t.size for t in like)
    step = max(total if chunk_size is None else chunk_size, 1)
    parts = []
    for start in range(0, max(total, 1), step):
        basis = unit_rows(like, start, min(start + step, total))
        if min(step, total) == 1:       # nothing to map: the function may do what cannot be mapped
            found = linear(*(_reshape(b, t.shape) for b, t in zip(basis, like, strict=True)))
            parts.append([engine.find_op("expand_dims").function(t, axis=0) for t in found])
        else:
            parts.append(vmap(linear, randomness=randomness)(*basis))
    if len(parts) == 1:
        return list(parts[0])
    concat = engine.find_op("concat").function
    return [concat(list(column), axis=0) for column in zip(*parts, strict=True)]


def unit_rows(like: Sequence[Tensor], start: int, stop: int) -> Iterator[Tensor]:
    """Rows start to stop of the unit matrix, the columns dealt out to the tensors in their shapes."""
    offset = 0
    for t in like:
        xp = t.__array_namespace__()
        rows = xp.eye(stop - start, t.size, k=start - offset, dtype=t.dtype, device=t.device)
        yield _reshape(rows, (stop - start, *t.shape))
        offset += t.size


def split(t: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """Pieces along the first axis, as long as these tensors have elements."""
    if len(like) == 1:
        return [t]
    ends = list(accumulate(x.size for x in like))
    return [t[end - x.size:end] for end, x in zip(ends, like, strict=True)]


def _last(t: Tensor) -> Tensor:
    """The first axis moved to the end."""
    return t if t.ndim == 1 else engine.find_op("moveaxis").function(t, 0, -1)


def _reshape(t: Tensor, shape: tuple[int, ...]) -> Tensor:
    return t if t.shape == shape else engine.find_op("reshape").function(t, shape)


def _check_chunk_size(chunk_size: int | None, api: str) -> None:
    if chunk_size is not None and chunk_size <= 0:
        raise ValueError(f"{api}: `chunk_size` should be greater than 0.")


def _refuse_complex(api: str, tree: Any, what: str) -> None:
    for i, t in enumerate(leaves_of(tree)):
        if isinstance(t, Tensor) and t.dtype.kind == "complex":
            raise RuntimeError(
                f"{api}: Expected all {what} to be real but received complex tensor at flattened input idx: {i}"
            )
