# Gradient slots and leaves. The whole policy: the first gradient is kept by reference, the second makes a buffer that the slot owns,
# later ones are added in place where arrays can be written. Never in place in the Tensor world.

cdef struct Slot:
    PyObject* g             # the gradient so far, or NULL
    PyObject* entries       # list of Entry waiting to be put in, or NULL
    uint8_t owned           # g was made by the engine, or is provably new
    uint8_t captured        # somebody asked for this gradient


@cython.final
@cython.freelist(64)
cdef class Entry:
    """An indexed gradient: zeros like `like` with `g` added at `key`. It never leaves a slot."""
    cdef Like like
    cdef object key
    cdef object g

    def __init__(self):
        raise TypeError("made by rules.scatter")


def scatter(Like x_like not None, key, g):
    """The result of an indexing op's rule: zeros like x with `g` added at `key`; repeated positions add up.

    Parameters
    ----------
    x_like : like
        Shape, dtype and device of the indexed array.
    key
        Where: whatever the op was indexed with.
    g : array or Tensor
        What to add there.
    """
    cdef Entry entry = Entry.__new__(Entry)
    entry.like, entry.key, entry.g = x_like, key, g
    return entry


@cython.final
cdef class Product:
    """A gradient left^T right that has not been computed: matrices with few rows are multiplied into the slot."""
    cdef object left
    cdef object right

    def __init__(self):
        raise TypeError("made by rules.product")


def product(Like x_like not None, left, right):
    """The result of a rule whose gradient is left^T right: with few rows it is added to what is there without being made first.

    Parameters
    ----------
    x_like : like
        Shape, dtype and device of the operand, a matrix.
    left, right : array or Tensor
        Matrices with the same number of rows.
    """
    cdef Product found
    if isinstance(left, Tensor):
        return left.mT @ right
    found = Product.__new__(Product)
    found.left, found.right = left, right
    return found if x_like.backend.speed.add_product != NULL and x_like.dtype == left.dtype else dense_product(x_like.backend, found)


cdef object add_product(Slot* slot, Backend backend, Product product):
    """Add a product to what the slot owns and return None; else the product as an array."""
    if (slot.g != NULL and slot.owned and Py_REFCNT(slot.g) == 1
            and backend.speed.add_product(slot.g, <PyObject*>product.left, <PyObject*>product.right)):
        return None
    return dense_product(backend, product)


cdef object dense_product(Backend backend, Product product):
    return backend.xp.matmul(backend.xp.matrix_transpose(product.left), product.right)


cdef inline int drop(Slot* slot) except -1:
    Py_XDECREF(slot.g)
    Py_XDECREF(slot.entries)
    slot.g, slot.entries, slot.owned = NULL, NULL, 0
    return 0


cdef int add_to_slot(Slot* slot, Backend backend, object r, bint owned) except -1:
    """Add a gradient to a slot."""
    cdef object held
    if slot.g == NULL:
        Py_INCREF(r)
        slot.g, slot.owned = <PyObject*>r, owned
        return 0
    held = <object>slot.g
    if is_tensor(backend, r):
        total = binary(op_add, held, r)
    elif slot.owned and Py_REFCNT(slot.g) == 2 and backend.mutable:      # the slot's reference and ours
        if backend.speed.add_into != NULL and backend.speed.add_into(slot.g, <PyObject*>r):
            return 0
        total = backend.add_into(held, r)
    else:
        total = add_raw(backend, held, r)
    Py_INCREF(total)
    Py_DECREF(held)
    slot.g, slot.owned = <PyObject*>total, True
    return 0


cdef inline object add_raw(Backend backend, object a, object b):
    return call_binary(op_add, backend, a, b)


cdef int add_entry(Slot* slot, Entry entry) except -1:
    cdef list entries
    if slot.entries == NULL:
        entries = [entry]
        Py_INCREF(entries)
        slot.entries = <PyObject*>entries
    else:
        (<list>slot.entries).append(entry)
    return 0


cdef object take(Slot* slot, Backend backend, bint* owned):
    """Take the gradient out of a slot, waiting entries put in; None if nobody sent one."""
    cdef object g = None
    cdef list entries
    cdef Entry first
    owned[0] = slot.owned
    if slot.g != NULL:
        g = <object>slot.g
        Py_DECREF(g)
        slot.g = NULL
    if slot.entries != NULL:
        entries = <list>slot.entries
        Py_DECREF(entries)
        slot.entries = NULL
        first = <Entry>entries[0]
        if isinstance(first.g, Tensor):
            dense = scatter_tensors(entries)
            g = dense if g is None else binary(op_add, g, dense)
        else:
            g = scatter_raw(backend, g, owned[0], entries)
            owned[0] = True
    return g


cdef object scatter_raw(Backend backend, object g, bint owned, list entries):
    """Put entries into a buffer: the gradient held so far if it is ours, else a new one."""
    cdef Entry entry = <Entry>entries[0]
    cdef Like like = entry.like
    cdef object buffer
    if g is None:
        buffer = backend.zeros(like.shape, like.dtype, like.device)
    else:
        ours = owned and backend.mutable and Py_REFCNT(<PyObject*>g) == 1 and type(g) is backend.array_type
        buffer = g if ours else backend.as_array(backend.copy(g))
    for entry in entries:
        if backend.speed.put == NULL or not backend.speed.put(<PyObject*>buffer, <PyObject*>entry.key, <PyObject*>entry.g):
            buffer = backend.scatter_add(buffer, entry.key, entry.g)
    return buffer


cdef object scatter_tensors(list entries):
    """In the Tensor world all entries of a slot become one recorded operation."""
    cdef Like like = (<Entry>entries[0]).like
    cdef Entry entry
    if any([has_layers((<Entry>e).key) for e in entries]):
        total = like.zeros()
        for entry in entries:
            total = call_with(number_ops["scatter_add"], (total, with_tensors(like.backend, entry.key), entry.g))
        return total
    keys = tuple([raw_key(base_of(like.backend), (<Entry>e).key, []) for e in entries])      # in the Tensor world rules compute keys with Tensors
    return call_with(op_scatter, ([(<Entry>e).g for e in entries], keys, like))


# ---- leaves

cdef int store_gradient(Tensor leaf, GradState state, object g, bint owned) except -1:
    """Add a complete gradient to `.grad`: in place outside create_graph, never aliasing what somebody else holds."""
    cdef Tensor held, t
    cdef Backend backend = leaf.backend
    with state.lock:
        held = <Tensor>state.grad
        if is_tensor(backend, g):
            t = primal_at(<Tensor>g, backend)       # never into g: to assign a parameter counts as a reference, and the array would be copied
            state.grad = copy_recorded(t) if held is None else binary(op_add, held, t)
            leaf.flags |= RICH
            track_graph(<Tensor>state.grad)
        elif held is None:
            state.grad = wrap(backend, own_gradient(leaf, g, owned))
        else:
            add_to_gradient(held, backend, g)
        if state.dtype is not None and backend.dtype_of((<Tensor>state.grad).raw) != state.dtype:
            state.grad = call_with(number_ops["astype"], (state.grad, state.dtype))
    return 0


cdef object own_gradient(Tensor leaf, object g, bint owned):
    """The array that becomes `.grad`: taken over if nobody else can hold it, else copied; laid out in memory like the leaf."""
    cdef Backend backend = leaf.backend
    if owned and Py_REFCNT(<PyObject*>g) == 1 and backend.mutable:      # the caller's variable only
        return backend.laid_out_like(g, leaf.raw) if type(g) is backend.array_type else g
    return backend.copy_like(g, leaf.raw)


cdef int add_to_gradient(Tensor held, Backend backend, object g) except -1:
    """held += g on raw arrays, keeping the Tensor."""
    synchronise(held)
    if must_move(held, current_mode()):
        move(held)
    if held.view_ is not None and not in_memory(held):
        return store(held, add_raw(backend, held.raw, g), op_add)
    if type(held.raw) is backend.array_type and backend.mutable:
        if backend.speed.add_into == NULL or not backend.speed.add_into(<PyObject*>held.raw, <PyObject*>g):
            held.raw = backend.add_into(held.raw, g)
    else:
        held.raw = backend.normalise(add_raw(backend, held.raw, g))
    if held.cell is not None:
        held.cell.array = held.raw if held.view_ is None else held.cell.array
        wrote(held, op_add)
    return 0


cdef Rule copy_rule = None

cdef Tensor copy_recorded(Tensor g):
    """The first gradient under create_graph: a recorded copy, PyTorch's CopyBackwards."""
    global copy_rule
    cdef Rule rule
    if copy_rule is None:
        rule = <Rule>op_copy.rule
        copy_rule = Rule(op_copy, rule.family, rule.formulas, source=rule.source, node_name="agrad::autograd::CopyBackwards", partial=rule.partial)
    cdef Tensor out = wrap(g.backend, g.backend.copy(g.raw))
    if g.flags & TRACKED:
        out.node = node_over(copy_rule, g.backend, g)
        out.flags |= TRACKED
    return out
