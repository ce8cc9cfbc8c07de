"""Rules of the chapter "indexing": reading elements at a key, and writing them. The transpose of a read adds its
cotangent at the key; the engine keeps those additions and does them in place, so that N reads cost N.
Must not know any array library.

A key is an int, slice, None, Ellipsis, boolean mask, integer array, or a tuple of them."""

from math import prod

from agrad.plugins import batches
from agrad.plugins.axes import along, normalise
from agrad.rules import RuleSet, case, ints, mask, scatter

rules = RuleSet("indexing")


# ------------------------------------------------------------------------------------------------------------ keys


def parts(key):
    return key if isinstance(key, tuple) else (key,)


def is_array(part):
    """Is it an index array or a mask? A 0-d array is an int to every library."""
    return isinstance(part, (bool, list, tuple)) or getattr(part, "ndim", 0) > 0


def view_step(part):
    """What PyTorch calls the step that this part of a key takes; "" for none."""
    if part is None:
        return "Unsqueeze"
    if isinstance(part, slice):
        return "" if part.start in (None, 0) and part.stop is None and part.step in (None, 1) else "Slice"
    return "" if part is Ellipsis else "Select"


def getitem_node(args, scalars):
    """PyTorch takes one step after the other, and the last one names the node."""
    key = args[1]
    if isinstance(key, slice):
        return "SliceBackward0"
    if any(map(is_array, parts(key))):
        return "IndexBackward0"
    steps = [step for step in map(view_step, parts(key)) if step]
    return f"{steps[-1] if steps else 'Alias'}Backward0"


def setitem_node(args, scalars):
    arrays = [is_array(part) for part in parts(args[1])]
    if any(view_step(part) for part, array in zip(parts(args[1]), arrays, strict=True) if not array):
        return "agrad::autograd::CopySlices"
    return "IndexPutBackward0" if any(arrays) else "agrad::autograd::CopyBackwards"


# -------------------------------------------------------------------------------------------------- x[key], x[key] = v


def written(g, key, x_like, value_like, xp):
    """What reached the elements that were written; the engine adds up the axes along which the value was broadcast."""
    chosen = only_mask(key, xp)
    if chosen is not None and value_like.ndim <= x_like.ndim - chosen.ndim:     # no length depends on the mask's values
        behind = tuple(range(chosen.ndim, x_like.ndim))
        return xp.where(xp.expand_dims(chosen, axis=behind), g, 0)
    read = xp.getitem(g, key)
    if may_repeat(key, xp):
        read = xp.where(winners(read, key, x_like, xp), read, 0)
    extra = value_like.ndim - read.ndim
    # Libraries accept values with more axes than the key selects, as long as those have size 1.
    return xp.expand_dims(read, axis=tuple(range(extra))) if extra > 0 else read


def only_mask(key, xp):
    """The mask, if the key is one and nothing else."""
    if len(parts(key)) != 1:
        return None
    (part,) = parts(key)
    return part if getattr(part, "ndim", 0) > 0 and xp.isdtype(part.dtype, "bool") else None


def may_repeat(key, xp):
    """Can a key name an element twice? Integer arrays can, masks cannot."""
    arrays = [part for part in parts(key) if is_array(part) and not isinstance(part, bool)]
    return any(isinstance(part, (list, tuple)) or not xp.isdtype(part.dtype, "bool") for part in arrays)


def winners(read, key, x_like, xp):
    """Where is the write that lasted? Number all writes, do them, and see which numbers are still there."""
    number = xp.reshape(xp.arange(prod(read.shape), device=x_like.device), read.shape)
    board = xp.zeros(x_like.shape, dtype=number.dtype, device=x_like.device)
    return xp.equal(xp.getitem(xp.setitem(board, key, number), key), number)


rules.linear(
    "getitem", x=scatter, batch=batches.getitem,
    node=getitem_node, view=True,
    samples=[
        # ints, slices, None, Ellipsis
        case((), ()), case((), ...), case((3,), 0), case((3,), -1), case((3, 4), 1), case((3, 4), (1, -2)),
        case((3, 4), (..., 0)), case((0, 2), (..., 1)), case((3,), None), case((2, 3, 4), (0, ..., None)),
        case((3, 4), slice(1, 3)), case((5,), slice(None, None, 2)), case((5,), slice(-3, -1)), case((3,), slice(3, 3)),
        case((3, 4), (slice(None), None, 1)), case((3, 4), (slice(0, 2), slice(None, -1))),
        # masks
        case((0,), mask((0,))), case((3, 4), mask((3,))), case((3, 4), mask((3, 4))),
        case((3, 4), (slice(None), mask((4,)))),
        # integer arrays
        case((3,), ints((5,), -3, 3)), case((3, 4), ints((2, 2), 0, 3)), case((3, 2), ints((0,), 0, 3)),
        case((3, 4), (ints((5,), 0, 3), ints((5,), -4, 4))), case((3, 4), (ints((2, 1), 0, 3), ints((3,), 0, 4))),
        case((3, 4), (slice(None), ints((2,), 0, 4))), case((3, 4), (1, ints((3,), 0, 4))),
        case((3, 4), (None, ints((2,), 0, 3))), case((3, 4, 2), (ints((2,), 0, 3), slice(1, 3), ints((2,), 0, 2))),
    ],
)
rules.linear(
    "setitem", x=lambda g, key, xp: xp.setitem(g, key, 0), value=written, batch=batches.setitem,
    node=setitem_node,
    note="where integer arrays name an element twice, the last write wins, and only it gets the gradient",
    samples=[
        # ints, slices, None, Ellipsis
        case((), (), ()), case((), ..., ()), case((3,), 0, ()), case((3, 4), 1, (4,)), case((3, 4), 1, (1, 4)),
        case((3, 4), (1, -2), ()), case((3, 4), (..., 0), (1,)), case((0, 2), (..., 1), (0,)), case((3, 4), ..., ()),
        case((3, 4), slice(1, 3), (2, 4)), case((3, 4), slice(1, 3), (4,)), case((5,), slice(None, None, 2), (3,)),
        case((3,), slice(3, 3), (0,)), case((3, 4), (slice(None), None), (1, 4)),
        # masks
        case((3, 4), mask((3,)), (4,)), case((3, 4), mask((3,)), (1, 1)), case((3, 4), mask((3, 4)), ()),
        # integer arrays, most with more positions than there are elements, so that some repeat
        case((3,), ints((5,), -3, 3), (5,)), case((3,), ints((5,), 0, 3), ()), case((3,), ints((0,), 0, 3), (0,)),
        case((3, 4), ints((2, 2), 0, 3), (2, 4)), case((2, 2), (ints((6,), 0, 2), ints((6,), -2, 2)), (6,)),
        case((3, 2), (slice(None), ints((3,), 0, 2)), (3, 1)), case((3, 2), (1, ints((3,), 0, 2)), (3,)),
    ],
)


# ---------------------------------------------------------------------------------------------------- take and gather


def take_transpose(g, indices, axis, x_like):
    before = 0 if axis is None else normalise(axis, x_like.ndim)[0]
    return scatter(x_like, (slice(None),) * before + (indices,), g)


def take_along_axis_transpose(g, indices, axis, x_like, xp):
    return scatter(x_like, along(indices, axis, x_like, xp), g)


rules.linear(
    "take", x=take_transpose, batch=batches.take,
    node="IndexSelectBackward0",
    samples=[
        case((3,), ints((5,), 0, 3)), case((3,), ints((5,), -3, 3), axis=0), case((3, 4), ints((2,), 0, 3), axis=0),
        case((3, 4), ints((6,), 0, 4), axis=-1), case((2, 3, 2), ints((4,), -3, 3), axis=1),
        case((3, 2), ints((0,), 0, 3), axis=0), case((0, 2), ints((3,), 0, 2), axis=1),
    ],
)
rules.linear(
    "take_along_axis", x=take_along_axis_transpose, batch=batches.take_along_axis,
    node="GatherBackward0",
    samples=[
        case((3,), ints((4,), -3, 3)), case((2, 3), ints((2, 4), 0, 3)), case((2, 3), ints((1, 2), 0, 3)),
        case((3, 2), ints((4, 2), -3, 3), axis=0), case((2, 3, 2), ints((2, 1, 2), 0, 3), axis=-2),
        case((1, 3), ints((2, 2), 0, 3)), case((2, 3), ints((2, 0), 0, 3)),
    ],
)


# ------------------------------------------------------------------------------------- the engine's own, behind views

# A view's steps are its view operations; what reads or writes through them is made when a view is written in place.
rules.linear(
    "read_view", x=lambda g, steps, x_like, xp: xp.write_view(x_like.zeros(), g, steps),
    node="AsStridedBackward0", view=True, samples=(),
)
rules.linear(
    "write_view",
    x=lambda g, steps, xp: xp.write_view(g, 0, steps), value=lambda g, steps, xp: xp.read_view(g, steps),
    node="agrad::autograd::CopySlices", samples=(),
)
# All indexed gradients of one array under create_graph: zeros with each array added at its key.
rules.linear(
    "scatter", arrays=lambda g, keys, xp: tuple(xp.getitem(g, key) for key in keys), batch=batches.scatter,
    node="ScatterAddBackward0", samples=(),
)
