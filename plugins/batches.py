"""Batch rules (``batch=`` in records) of the ops whose parameters do not say what to do, and what these share.

The batch is the first axis of what is batched and of every result; all other words are about one sample. Must not know
any array library."""

from functools import cache
from math import prod

from agrad.batching import fitted, lifted, shifted, spread, truth
from agrad.plugins.axes import normalise
from agrad.plugins.contraction import read, write


def rank(x, flag):
    """How many axes a sample has."""
    return getattr(x, "ndim", 0) - bool(flag)


def shape_of(x, flag):
    """The shape of a sample."""
    return tuple(getattr(x, "shape", ())[bool(flag):])


def in_a_row(x):
    """A batch with all elements of a sample on one axis."""
    return x if x.ndim == 2 else x.__array_namespace__().reshape(x, (x.shape[0], prod(x.shape[1:])))


def as_batch(x, flag, size, xp):
    return x if flag else spread(x, size, xp)


def flags_of(name, values, batched):
    """A flag for each of several arrays."""
    return batched.get(name, (False,) * len(values))


# -------------------------------------------------------------------------------------------- what only data can tell


def by_data(name, way):
    """For ops whose results have a length that depends on the numbers: samples would differ."""
    def batch():
        raise RuntimeError(
            f"{name}() cannot run under vmap: its result is as long as the numbers say, and samples must agree. "
            f"{way}"
        )

    return batch


COUNT = "Call it outside of vmap, or keep all elements and mark those that count: where(condition, x, 0)"
VALUES = "Call it outside of vmap, or use sort(x), which keeps every element"


# ------------------------------------------------------------------------------------------------- joining and parting


def concat(arrays, axis, batched, size, xp):
    flags = flags_of("arrays", arrays, batched)
    arrays = [as_batch(x, flag, size, xp) for x, flag in zip(arrays, flags, strict=True)]
    if axis is None:
        return xp.concat([in_a_row(x) for x in arrays], axis=1)
    return xp.concat(arrays, axis=shifted(axis, arrays[0].ndim - 1))


def stack(arrays, axis, batched, size, xp):
    flags = flags_of("arrays", arrays, batched)
    arrays = [as_batch(x, flag, size, xp) for x, flag in zip(arrays, flags, strict=True)]
    return xp.stack(arrays, axis=shifted(axis, arrays[0].ndim))


def broadcast_arrays(arrays, batched, xp):
    flags = flags_of("arrays", arrays, batched)
    ndim = max(map(rank, arrays, flags))
    return xp.broadcast_arrays(*(lifted(x, ndim) if flag else x for x, flag in zip(arrays, flags, strict=True)))


def meshgrid(arrays, indexing, batched, size, xp):
    """Each array on an axis of its own, then as long as the others; "xy" swaps the first two axes."""
    flags, n = flags_of("arrays", arrays, batched), len(arrays)
    lengths = [prod(shape_of(x, flag)) for x, flag in zip(arrays, flags, strict=True)]
    axes = [1, 0, *range(2, n)] if indexing == "xy" and n > 1 else list(range(n))
    shape = (size, *(lengths[axes.index(a)] for a in range(n)))

    def grid(x, flag, axis, length):
        line = (1,) * axis + (length,) + (1,) * (n - 1 - axis)
        return xp.broadcast_to(xp.reshape(x, (size if flag else 1, *line)), shape)

    made = tuple(grid(*each) for each in zip(arrays, flags, axes, lengths, strict=True))
    dtypes = {x.dtype for x in made}
    return made if len(dtypes) == 1 else tuple(xp.astype(x, xp.result_type(*arrays)) for x in made)


def tile(x, repetitions, xp):
    counts = (repetitions,) if isinstance(repetitions, int) else tuple(repetitions)
    ndim = max(x.ndim - 1, len(counts))
    return xp.tile(lifted(x, ndim), (1,) * (1 + ndim - len(counts)) + counts)


# ---------------------------------------------------------------------------- axes without which elements are in a row


def argument(largest):
    """argmax or argmin."""
    def batch(x, axis, keepdims, xp):
        function = xp.argmax if largest else xp.argmin
        if axis is not None and x.ndim > 1:
            return function(x, axis=shifted(axis, x.ndim - 1), keepdims=keepdims)
        found = function(in_a_row(x), axis=1)
        return xp.expand_dims(found, axis=tuple(range(1, x.ndim))) if keepdims and x.ndim > 1 else found

    return batch


def roll(x, shift, axis, xp):
    if axis is None:
        return xp.reshape(xp.roll(in_a_row(x), shift, axis=1), x.shape)
    return xp.roll(x, shift, axis=shifted(axis, x.ndim - 1))


def repeat(x, repeats, axis, batched, xp):
    if "repeats" in batched:
        by_data("repeat", "Give every sample the same repeats, or one number")()
    if axis is None or x.ndim == 1:
        return xp.repeat(in_a_row(x), repeats, axis=1)
    return xp.repeat(x, repeats, axis=shifted(axis, x.ndim - 1))


def take(x, indices, axis, batched, size, xp):
    if "indices" not in batched:
        if axis is None:
            return xp.take(in_a_row(x), indices, axis=1)
        return xp.take(x, indices, axis=shifted(axis, x.ndim - 1))
    ndim = rank(x, "x" in batched)
    if axis is None and ndim != 1:
        x, ndim = in_a_row(x) if "x" in batched else xp.reshape(x, (-1,)), 1
    (own,) = normalise(0 if axis is None else axis, ndim)
    key, flags = (slice(None),) * own + (indices,), (False,) * own + (True,)
    return getitem(x, key, {**batched, "key": flags}, size, xp)


def take_along_axis(x, indices, axis, batched, xp):
    """Both broadcast, but along the axis."""
    x, indices = (part if name in batched else xp.expand_dims(xp.asarray(part), axis=0)
                  for name, part in (("x", x), ("indices", indices)))
    return xp.take_along_axis(x, indices, axis=shifted(axis, x.ndim - 1))


def diff(x, axis, n, prepend, append, batched, size, xp):
    x = as_batch(x, "x" in batched, size, xp)
    ndim = x.ndim - 1
    own = shifted(axis, ndim) - 1

    def border(value, flag):
        """As a batch; one number stands for a whole border."""
        if value is None:
            return None
        if rank(value, flag) == 0:
            shape = (*x.shape[: own + 1], 1, *x.shape[own + 2:])
            return xp.broadcast_to(lifted(value, ndim) if flag else xp.asarray(value, dtype=x.dtype), shape)
        return as_batch(value, flag, size, xp)

    ends = {name: border(value, name in batched) for name, value in (("prepend", prepend), ("append", append))}
    return xp.diff(x, axis=own + 1, n=n, **{name: end for name, end in ends.items() if end is not None})


def fftn(name):
    """A transform along several axes: all, the last ones as many as there are lengths, or those that are named."""
    def batch(x, s, axes, norm, xp):
        ndim = x.ndim - 1
        if axes is None:
            axes = tuple(range(-ndim if s is None else -len(s), 0))
        axes = shifted((axes,) if isinstance(axes, int) else axes, ndim)
        return getattr(xp.fft, name)(x, s=s, axes=axes, norm=norm)

    return batch


# ------------------------------------------------------------------------------------------------------------ searching


def searchsorted(x1, x2, side, sorter, batched, size, xp):
    """Where lines differ from sample to sample, all numbers are sorted together: a place is a rank among the line's."""
    if "x1" not in batched and "sorter" not in batched:
        return xp.searchsorted(x1, x2, side=side, sorter=sorter)
    if sorter is not None:
        parts = zip(("x1", "sorter"), (x1, sorter), strict=True)
        x1, sorter = (as_batch(part, name in batched, size, xp) for name, part in parts)
        x1 = xp.take_along_axis(x1, sorter, axis=1)
    x2 = as_batch(x2, "x2" in batched, size, xp)
    flat, n = in_a_row(x2), x1.shape[1]
    m = flat.shape[1]
    both = xp.concat([flat, x1] if side == "left" else [x1, flat], axis=1)
    start = 0 if side == "left" else n
    ranks = ranks_of(both, xp)[:, start : start + m]
    found = ranks - ranks_of(flat, xp)
    return found if x2.ndim == 2 else xp.reshape(found, x2.shape)


def ranks_of(x, xp):
    """Where each element stands when its row is sorted; equal ones stay in order."""
    return xp.argsort(xp.argsort(x, axis=1, stable=True), axis=1)


def isin(x1, x2, invert, batched, xp):
    if "x2" not in batched:
        return xp.isin(x1, x2, invert=invert)
    members = in_a_row(x2)
    ndim = rank(x1, "x1" in batched)
    members = xp.reshape(members, (members.shape[0], *(1,) * ndim, members.shape[1]))
    x1 = x1 if hasattr(x1, "ndim") else xp.asarray(x1, dtype=x2.dtype)
    found = xp.any(xp.equal(xp.expand_dims(x1, axis=-1), members), axis=-1)
    return xp.logical_not(found) if invert else found


# ------------------------------------------------------------------------------------------------------------- products


def matmul(x1, x2, batched, xp):
    """Vectors become rows and columns; a matrix that all samples share meets them as one tall matrix."""
    first, second = "x1" in batched, "x2" in batched
    n1, n2 = rank(x1, first), rank(x2, second)
    if not n1 or not n2:
        raise ValueError("matmul() takes no 0-d arrays; under vmap a sample of an operand has no axis")
    if first and not second and n2 <= 2:
        return tall(x1, x2, xp) if n2 == 2 and n1 > 1 else xp.matmul(x1, x2)
    if second and not first and n1 <= 2 and n2 == 1:
        return xp.matmul(x2, x1) if n1 == 1 else xp.matmul(x2, xp.matrix_transpose(x1))
    ndim = max(n1, n2, 2)
    if n1 == 1:
        x1 = xp.expand_dims(x1, axis=-2)
    if n2 == 1:
        x2 = xp.expand_dims(x2, axis=-1)
    out = xp.matmul(lifted(x1, ndim) if first else x1, lifted(x2, ndim) if second else x2)
    gone = tuple(axis for axis, n in ((-2, n1), (-1, n2)) if n == 1)
    return xp.squeeze(out, axis=gone) if gone else out


def tall(x1, x2, xp):
    """Many matrices times one."""
    rows = xp.reshape(x1, (prod(x1.shape[:-1]), x1.shape[-1]))
    return xp.reshape(xp.matmul(rows, x2), (*x1.shape[:-1], x2.shape[-1]))


def tensordot(x1, x2, axes, batched, xp):
    """As subscripts, where both are batched; else the batch is one more axis that nobody contracts."""
    n1, n2 = rank(x1, "x1" in batched), rank(x2, "x2" in batched)
    if isinstance(axes, int):
        axes = range(-axes, 0), range(axes)
    over1, over2 = (tuple(a - 1 for a in shifted(over, n)) for over, n in zip(axes, (n1, n2), strict=True))
    if "x2" not in batched:
        return xp.tensordot(x1, x2, axes=(tuple(a + 1 for a in over1), over2))
    if "x1" not in batched:
        return xp.moveaxis(xp.tensordot(x1, x2, axes=(over1, tuple(a + 1 for a in over2))), n1 - len(over1), 0)
    partners = dict(zip(over2, over1, strict=True))
    term1 = tuple(range(1, 1 + n1))
    term2 = tuple(1 + partners[b] if b in partners else 1 + n1 + b for b in range(n2))
    result = (*(a for a in term1 if a - 1 not in over1), *(b for b in term2 if b > n1))
    return xp.einsum(write([(0, *term1), (0, *term2)], (0, *result)), x1, x2)


def einsum(subscripts, operands, batched, xp):
    """One more index, which the batched operands and the result have."""
    flags = flags_of("operands", operands, batched)
    terms, result, _ = read(subscripts, tuple(map(shape_of, operands, flags)))
    terms = [(1, *term) if flag else term for term, flag in zip(terms, flags, strict=True)]
    return xp.einsum(write(terms, (1, *result)), *operands)


def outer(x1, x2, batched, xp):
    for name, x in (("x1", x1), ("x2", x2)):
        if rank(x, name in batched) != 1:
            raise ValueError(f"linalg.outer() takes arrays with one axis, and a sample of {name} has not one")
    return xp.expand_dims(x1, axis=-1) * xp.expand_dims(x2, axis=-2)


def from_the_end(x1, x2, axis, batched):
    """Two operands with equal ranks, as far as they are batched; the axis by a negative number."""
    n1, n2 = rank(x1, "x1" in batched), rank(x2, "x2" in batched)
    if axis >= 0:
        if n1 != n2:
            raise ValueError(f"axis={axis} is not the same one in operands with {n1} and {n2} axes: use a negative one")
        axis -= n1
    if axis < -min(n1, n2):
        raise IndexError(f"axis {axis} is out of range for operands with {n1} and {n2} axes")
    ndim = max(n1, n2)
    return (lifted(x1, ndim) if "x1" in batched else x1), (lifted(x2, ndim) if "x2" in batched else x2), axis


def vecdot(x1, x2, axis, batched, xp):
    x1, x2, axis = from_the_end(x1, x2, axis, batched)
    return xp.vecdot(x1, x2, axis=axis)


def cross(x1, x2, axis, batched, xp):
    x1, x2, axis = from_the_end(x1, x2, axis, batched)
    return xp.linalg.cross(x1, x2, axis=axis)


def equations(solve, x1, x2, batched, size, xp):
    """Right sides of a matrix that all samples share become columns of one; a single vector has one axis."""
    vector = rank(x2, "x2" in batched) == 1
    if "x1" not in batched and x1.ndim == 2 and "x2" in batched and x2.ndim < 4:
        if vector:
            return xp.matrix_transpose(solve(x1, xp.matrix_transpose(x2)))
        n, k = x2.shape[-2:]
        columns = solve(x1, xp.reshape(xp.moveaxis(x2, 0, 1), (n, size * k)))
        return xp.moveaxis(xp.reshape(columns, (columns.shape[0], size, k)), 1, 0)
    if "x2" not in batched and vector:
        return solve(x1, x2)
    if vector:
        x2 = xp.expand_dims(x2, axis=-1)
    ndim = max(rank(x1, "x1" in batched), rank(x2, "x2" in batched), 2)
    out = solve(lifted(x1, ndim) if "x1" in batched else x1, lifted(x2, ndim) if "x2" in batched else x2)
    return xp.squeeze(out, axis=-1) if vector else out


# ----------------------------------------------------------------------------------------------------------------- keys
# Arrays broadcast together, in most libraries with ints among them; the axes that they make stand where the first of
# them stood, or first of all where something stands between them.


class Key:
    """A key for a whole batch.

    Attributes
    ----------
    parts : tuple
        What to read or write the batch with.
    moves : pair of tuples, or None
        Where axes of what it picks have to go, so that the batch is first and the rest is what a sample's key picks.
    ndim : int
        How many axes a sample's key picks.
    mask : (Tensor, int) or None
        A mask that can be done without positions, as a batch, and on which axis it begins; the rest takes everything.

    A sample's value to be written, if there is one, has the shape `writes`.
    """

    def __init__(self, key, flags, x, x_flag, size, xp, writes=None):
        parts = list(key) if isinstance(key, tuple) else [key]
        flags = list(flags) if flags else [False] * len(parts)
        parts = [as_array(part, xp) for part in parts]
        self.moves = self.mask = None
        ndim = rank(x, x_flag)
        alone = writes is not None and len(parts) == 1 and is_mask(parts[0], xp) and not flags[0]
        if alone and all(n == 1 for n in writes[: max(0, len(writes) + parts[0].ndim - ndim)]):   # the same everywhere
            parts, flags = [xp.expand_dims(parts[0], axis=0)], [True]
        masks = [flag and is_mask(part, xp) for part, flag in zip(parts, flags, strict=True)]
        if any(masks):
            self.take_mask(parts, masks, ndim)
            return
        if any(flags):
            parts, flags = without_masks(parts, flags, xp)
        ranks = [rank(part, flag) if is_array(part) else 0 for part, flag in zip(parts, flags, strict=True)]
        missing = ndim - sum(width(part, n, xp) for part, n in zip(parts, ranks, strict=True))
        spans = [1 if isinstance(part, bool) or is_mask(part, xp) else n for part, n in zip(parts, ranks, strict=True)]
        kept = [axes_kept(part, missing) for part in parts]
        points = [is_point(part, n) for part, n in zip(parts, ranks, strict=True)]
        place = place_of([n > 0 for n in spans], points, kept, xp)
        own = max(spans, default=0)
        self.ndim = own + sum(kept) + (0 if any(part is Ellipsis for part in parts) else missing)
        parts = [lifted(part, own) if flag else part for part, flag in zip(parts, flags, strict=True)]
        if not x_flag:
            self.parts = tuple(parts)
            stands = place_of([n > 0 or flag for n, flag in zip(spans, flags, strict=True)], points, kept, xp) or 0
            self.move(stands, own, place or 0)
        elif not any(flags) and (place is not None or not own):
            self.parts = (slice(None), *parts)
        else:
            self.parts = (xp.reshape(xp.arange(size), (size, *(1,) * own)), *parts)
            self.move(0, own, place or 0)

    def move(self, stands, own, place):
        """The batch, with the arrays' own axes behind it, stands somewhere; it is to be first, they elsewhere."""
        source, target = tuple(range(stands, stands + 1 + own)), (0, *range(1 + place, 1 + place + own))
        if source != target:
            self.moves = source, target

    def take_mask(self, parts, masks, ndim):
        """A mask alone, but for what takes everything."""
        own = masks.index(True)
        others = [part for i, part in enumerate(parts) if i != own]
        if not all(part is Ellipsis or (isinstance(part, slice) and part == slice(None)) for part in others):
            raise RuntimeError("under vmap a mask that differs from sample to sample must be the only index")
        n = parts[own].ndim - 1
        dots = [i for i, part in enumerate(parts) if part is Ellipsis]
        missing = ndim - n - sum(part is not Ellipsis for part in others)
        self.mask = parts[own], own + (missing - 1 if dots and dots[0] < own else 0)
        self.ndim = ndim - n + 1


def as_array(part, xp):
    """Nested sequences as arrays, and arrays of others as Tensors."""
    if isinstance(part, (list, tuple)) or (hasattr(part, "ndim") and not hasattr(part, "requires_grad")):
        return xp.asarray(part)
    return part


def is_array(part):
    return hasattr(part, "ndim")


def is_mask(part, xp):
    return is_array(part) and xp.isdtype(part.dtype, "bool")


def is_point(part, ndim):
    """One position: an int, or an array without axes."""
    return ndim == 0 and (is_array(part) or (isinstance(part, int) and not isinstance(part, bool)))


def width(part, ndim, xp):
    """How many axes a part stands for."""
    if part is None or part is Ellipsis or isinstance(part, bool):
        return 0
    return ndim if is_mask(part, xp) else 1


def axes_kept(part, missing):
    """How many axes of the result a part makes that is no array."""
    return missing if part is Ellipsis else int(part is None or isinstance(part, slice))


def place_of(arrays, points, kept, xp):
    """Before which axis the arrays of a key leave theirs; None if something stands between them: first of all then."""
    if ints_join(xp) and any(arrays):
        arrays = [found or point for found, point in zip(arrays, points, strict=True)]
    elif any(arrays):
        seen = [i for i, found in enumerate(arrays) if found or kept[i]]
        arrays, kept = [arrays[i] for i in seen], [kept[i] for i in seen]
    at = [i for i, found in enumerate(arrays) if found]
    return sum(kept[: at[0]]) if at and at[-1] - at[0] == len(at) - 1 else None


@cache
def ints_join(xp):
    """Whether an int beside index arrays counts as one, as in NumPy, or is read first, as in PyTorch."""
    return xp.getitem(xp.zeros((1, 2, 1)), (0, slice(None), xp.asarray([0]))).shape == (1, 2)


def without_masks(parts, flags, xp):
    """Masks that all samples share as positions, for they stand beside batches of positions."""
    found = []
    for part, flag in zip(parts, flags, strict=True):
        positions = xp.nonzero(part) if is_mask(part, xp) else (part,)
        found += [(each, flag) for each in positions]
    return [part for part, _ in found], [flag for _, flag in found]


BASIC = (int, slice, type(None), type(...))


def getitem(x, key, batched, size, xp):
    if "key" not in batched and all(type(part) in BASIC for part in key):
        return xp.getitem(x, (slice(None), *key))
    own = Key(key, batched.get("key"), x, "x" in batched, size, xp)
    if own.mask is not None:
        by_data("x[mask]", "Keep all elements: where(mask, x, 0), and sum(mask) tells how many they are")()
    out = xp.getitem(x, own.parts)
    return out if own.moves is None else xp.moveaxis(out, *own.moves)


def to_write(value, flag, own, xp):
    """A value with the axes where the batch's key has them."""
    if not hasattr(value, "ndim"):
        return value
    if flag:
        value = fitted(value, own.ndim, xp)
    elif value.ndim > own.ndim:
        value = xp.squeeze(value, axis=tuple(range(value.ndim - own.ndim)))
    if own.moves is None:
        return value
    if not flag:
        value = xp.reshape(value, (*(1,) * (1 + own.ndim - value.ndim), *value.shape))
    return xp.moveaxis(value, own.moves[1], own.moves[0])


def under_mask(value, flag, own, xp):
    """Mask and value so that they broadcast with x."""
    mask, axis = own.mask
    n = mask.ndim - 1
    behind = own.ndim - 1 - axis
    mask = xp.reshape(mask, (mask.shape[0], *(1,) * axis, *mask.shape[1:], *(1,) * behind))
    ndim = axis + n + behind
    if not hasattr(value, "ndim"):
        return mask, value
    if flag and rank(value, flag) > own.ndim:
        value = fitted(value, own.ndim, xp)
    shape = shape_of(value, flag)
    if len(shape) > behind:
        place = len(shape) - behind - 1
        if shape[place] != 1:
            by_data("x[mask] = values", "Write one value for all places, or say where(mask, values, x)")()
        head = (value.shape[0],) if flag else ()
        value = xp.reshape(value, (*head, *shape[:place], *(1,) * n, *shape[place + 1:]))
    return mask, lifted(value, ndim) if flag else value


def setitem(x, key, value, batched, size, xp):
    x, (own, given) = as_batch(x, "x" in batched, size, xp), (batched.get("key"), "value" in batched)
    own = Key(key, own, x, True, size, xp, writes=shape_of(value, given))
    if own.mask is not None:
        mask, value = under_mask(value, given, own, xp)
        return xp.astype(xp.where(mask, value, x), x.dtype, copy=False)
    return xp.setitem(x, own.parts, to_write(value, given, own, xp))


def scatter_add(x, key, values, batched, size, xp):
    x, (own, given) = as_batch(x, "x" in batched, size, xp), (batched.get("key"), "values" in batched)
    own = Key(key, own, x, True, size, xp, writes=shape_of(values, given))
    if own.mask is not None:
        mask, values = under_mask(values, given, own, xp)
        return xp.scatter_add(x, ..., xp.where(mask, values, xp.zeros_like(x)))
    return xp.scatter_add(x, own.parts, to_write(values, given, own, xp))


def scatter(arrays, keys, like, batched, size, xp):
    """`like` is a sample's; the keys may differ from sample to sample."""
    out = xp.zeros((size, *like.shape), dtype=like.dtype)
    flags = batched.get("keys", (None,) * len(keys))
    for array, own, key, flag in zip(arrays, flags_of("arrays", arrays, batched), keys, flags, strict=True):
        given = {"x": True} | ({"key": flag} if truth(flag) else {}) | ({"values": True} if own else {})
        out = scatter_add(out, key, array, given, size, xp)
    return out


