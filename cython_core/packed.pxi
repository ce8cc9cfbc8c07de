# Saved values that hooks have packed. The node keeps what the pack hook gave, as a tuple of one Packed in the place of the array, and the
# unpack hook makes a Tensor of it again when a formula reads it; history comes back through the edge, or the node, as for any saved value.

@cython.final
@cython.no_gc_clear
cdef class Packed:
    def __init__(self):
        raise TypeError("made by the engine")


@cython.final
cdef class PackedKey:
    def __init__(self):
        raise TypeError("made by the engine")


cdef SavedHooks acting_hooks():
    """The pair that packs what is saved here, None if there is none."""
    cdef SavedHooks hooks = current_mode().saved_hooks
    return hooks if hooks is not None and hooks.pack is not None else None


cdef bint save_packed(Node node, Tensor t, object raw) except -1:
    """Save a value packed, if there are hooks for it; numbers are saved as they are. `t` as in `save`."""
    cdef SavedHooks hooks = acting_hooks()
    cdef Saved part
    cdef int i
    if hooks is None or agrad_is_scalar(<PyObject*>raw):
        return False
    if type(raw) is tuple:
        is_output = node.saved_mask >> node.rule.op.n_params and node.rule.op.n_arrays >= 0
        for i in range(len(<tuple>raw)):
            part = <Saved>(<tuple>raw)[i]
            if not agrad_is_scalar(<PyObject*>part.raw):
                given = twin_of(node.backend, part.raw, part.cell) if is_output else as_input(node, i, part.raw, part.cell)
                part.raw = note_packed(node, pack_with(hooks, <Tensor>given))
                part.cell = None
        return put_saved(node, raw, None, 0) == 0
    if t is None:
        t = wrap(node.backend, raw)
    elif t.node is node or t.raw is not raw:        # an output: with its history, what is packed could lead back to the node
        t = twin_of(node.backend, raw, cell_of(t))
    return put_saved(node, (note_packed(node, pack_with(hooks, t)),), None, 0) == 0


cdef Tensor twin_of(Backend backend, object raw, Cell cell):
    """An untracked tensor on the same storage."""
    cdef Tensor twin = wrap(backend, raw)
    share_cell(twin, cell)
    return twin


cdef Packed pack_with(SavedHooks hooks, Tensor t):
    """Call the pack hook, without recording."""
    cdef Packed packed = Packed.__new__(Packed)
    cdef Mode mode = current_mode()
    cdef Cell cell = cell_of(t)
    packed.unpack, packed.version, packed.ndim = hooks.unpack, cell.version, len(shape_of(t.backend, t.raw))
    packed.derivatives = derivatives_inside(t.raw)
    set_mode(mode.replace(grad=False, saved_hooks=None))
    try:
        packed.value = hooks.pack(t)
    finally:
        set_mode(mode)
    if cell.version != packed.version:
        raise RuntimeError(
            "A saved tensor pack hook is modifying its input in place. Tensors provided as input to pack hook cannot be modified by in-place "
            "operations, because what is saved is the value that the operation used. Write into a clone() of it instead.")
    if isinstance(packed.value, Tensor) and (<Tensor>packed.value).cell is cell:
        packed.cell = cell
    return packed


cdef Packed note_packed(Node node, Packed packed):
    """Let the walk know that a node has a packed value."""
    cdef Details details = details_of(node)
    if details.packed is None:
        details.packed = []
    details.packed.append(packed)
    node.flags |= WATCHED
    track_node(node)        # what hooks give may hold anything
    return packed


cdef int keep_unpacked(list packed, bint keeps) except -1:
    """While a node runs, each of its values is unpacked once, however many formulas read it."""
    cdef Packed one
    for one in packed:
        one.keeps = keeps
        one.unpacked = None
    return 0


cdef Tensor unpacked_of(Packed packed):
    """Call the unpack hook."""
    cdef Tensor t
    if packed.unpacked is not None:
        return packed.unpacked
    if packed.cell is not None and packed.cell.version != packed.version:
        raise RuntimeError(
            "one of the variables needed for gradient computation has been modified by an inplace operation: a value that a saved tensor pack hook "
            f"kept as it was is at version {packed.cell.version}; expected version {packed.version} instead. Hint: let the hook keep a clone().")
    result = packed.unpack(packed.value)
    if not isinstance(result, Tensor):
        raise TypeError(f"Output of saved tensor unpack_hook expected to be a Tensor but got result of type {type(result).__name__}")
    t = <Tensor>result
    synchronise(t)
    if derivatives_inside(t.raw) < packed.derivatives:
        raise RuntimeError("Output of saved tensor unpack_hook has lost the derivatives that the saved value has inside a transform (jvp, hessian, "
                           "...): let the pack hook keep it without detach(), or not change it at all")
    if packed.keeps:
        packed.unpacked = t
    return t


cdef int derivatives_inside(object raw) except -1:
    """How many tangents and histories a raw value has inside transforms."""
    cdef Layered layered
    if type(raw) is not Layered:
        return 0
    layered = <Layered>raw
    return (layered.tangent is not None) + ((layered.value.flags & TRACKED) != 0) + derivatives_inside(layered.value.raw)


cdef object unpacked_part(Node node, Packed packed, int k, bint is_output, bint tensors):
    """A packed value as formulas read it: operand or output k of the node."""
    cdef Tensor t = unpacked_of(packed)
    if t.backend is not node.backend and not (tensors and base_of(t.backend) is base_of(node.backend)):
        raise RuntimeError(f"Output of saved tensor unpack_hook expected to be a Tensor of {node.backend.name} but got one of {t.backend.name}")
    if not tensors:
        return t.raw
    return as_output(node, t.raw, None, k) if is_output else as_input(node, k, t.raw, None)


# ---- index tensors, which are kept among the static arguments

cdef int note_guards(Node node, list guards) except -1:
    """Remember the index tensors of a node, to be checked for writes; or pack them."""
    cdef SavedHooks hooks = acting_hooks() if live_saved_hooks else None
    cdef Saved guard
    if hooks is None:
        details_of(node).guards = guards
        return 0
    found = {}
    for guard in guards:
        found[id(guard.raw)] = note_packed(node, pack_with(hooks, twin_of(node.backend, guard.raw, guard.cell)))
    node.args = tuple([packed_key(argument, found) for argument in <tuple>node.args])
    return 0


cdef object packed_key(object argument, dict found):
    """A static argument with Packed in the place of the index arrays in it."""
    cdef PackedKey new
    key = with_replaced(argument, found)
    if key is argument:
        return argument
    new = PackedKey.__new__(PackedKey)
    new.key = key
    return new


cdef object with_replaced(object key, dict found):
    if type(key) is tuple:
        parts = tuple([with_replaced(part, found) for part in <tuple>key])
        return parts if any([a is not b for a, b in zip(parts, <tuple>key)]) else key
    return found.get(id(key), key)


cdef object unpacked_key(object key):
    """An index as it was before it was packed."""
    if type(key) is PackedKey:
        return unpacked_key((<PackedKey>key).key)
    if type(key) is tuple:
        return tuple([unpacked_key(part) for part in <tuple>key])
    return unpacked_of(<Packed>key).raw if type(key) is Packed else key


# ---- for upper layers

def pack_value(Tensor t not None):
    """What the pack hook in force makes of a tensor, for `unpack_value`; None if there is none."""
    cdef SavedHooks hooks = acting_hooks()
    synchronise(t)
    return pack_with(hooks, t) if hooks is not None else None


def unpack_value(Packed packed not None):
    """The tensor that `pack_value` was given, made by the unpack hook."""
    return unpacked_of(packed)
