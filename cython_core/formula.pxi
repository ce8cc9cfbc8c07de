# Calling a formula, in the raw world with the backend's arrays or in the Tensor world with Tensors; then making its result fit the operand.

cdef inline int rank_of(Op op, int parameter):
    """Which array parameter a parameter is."""
    cdef int i, rank = 0
    for i in range(parameter):
        rank += op.kinds[i] == ARRAY or op.kinds[i] == ARRAY_OR_NONE
    return rank


cdef int check_version(Node node, Cell cell, uint32_t version, object raw, object source, int number) except -1:
    """Raise if a saved value was written over; `source` is the node that made it, if any."""
    if cell is None or cell.version == version or (cell.moves is not None and version in cell.moves):
        return 0
    shape = list(node.backend.shape_of(raw))
    kind = str(node.backend.neutral_dtype(raw)).rpartition(".")[2]
    made_by = f", which is output {number} of {VERSION_SUFFIX.sub('', name_of(<Node>source))}," if type(source) is Node else ""
    writer = f" It was saved by {node.rule.op.name} and written over by {cell.writer.name}." if cell.writer is not None else ""
    hint = ("the backtrace further above shows the operation that failed to compute its gradient. The variable in question was changed in there or "
            "anywhere later. Good luck!" if current_mode().anomaly is not None else
            "write to a clone(), or let writes copy with agrad.autograd.graph.allow_mutation_on_saved_tensors().")
    raise RuntimeError(
        f"one of the variables needed for gradient computation has been modified by an inplace operation: [agrad.{TENSOR_TYPES.get(kind, kind)} "
        f"{shape}]{made_by} is at version {cell.version}; expected version {version} instead.{writer} Hint: {hint}")


cdef object VERSION_SUFFIX = re.compile(r"Backward\d*$")
cdef dict TENSOR_TYPES = {
    "float16": "HalfTensor", "bfloat16": "BFloat16Tensor", "float32": "FloatTensor", "float64": "DoubleTensor",
    "complex64": "ComplexFloatTensor", "complex128": "ComplexDoubleTensor", "int8": "CharTensor", "uint8": "ByteTensor",
    "int16": "ShortTensor", "int32": "IntTensor", "int64": "LongTensor", "bool": "BoolTensor",
}


cdef object saved_value(Node node, int bit, bint tensors, object g, int only=-1):
    """The saved value of a parameter (bit: its position) or of the output (bit: number of parameters); of several outputs all, or one."""
    cdef int rank
    cdef Saved overflow
    cdef Cell cell
    cdef uint32_t version
    cdef Op op = node.rule.op
    if not node.saved_mask >> bit & 1:
        if node.flags & FREED:
            raise RuntimeError(freed_message(node))
        return None         # an optional array that was not given
    rank = saved_rank(node, bit)
    if rank == 0:
        raw, cell, version = node.saved0, node.cell0, node.version0
    elif rank == 1:
        raw, cell, version = node.saved1, node.cell1, node.version1
    else:
        overflow = <Saved>node.details.saved[rank - 2]
        raw, cell, version = overflow.raw, overflow.cell, overflow.version
    if type(raw) is tuple:
        return saved_parts(node, bit, <tuple>raw, tensors, only)
    if agrad_is_scalar(<PyObject*>raw):
        if node.rule.scalars or g is None:
            return raw
        like = like_of((<Tensor>g).backend, (<Tensor>g).raw) if isinstance(g, Tensor) else like_of(node.backend, g)
        value = node.backend.scalar(raw, like.dtype, like.device)
        return wrap(node.backend, value) if tensors else value
    if bit == op.n_params:
        check_version(node, cell, version, raw, node, 0)
        cell = cell if cell is None or cell.version == version else None     # the storage moved on: the array is ours
        return as_output(node, raw, cell, 0) if tensors else raw
    edge = edge_of(node, rank_of(op, bit))
    check_version(node, cell, version, raw, edge, number_of(node, rank_of(op, bit)))
    cell = cell if cell is None or cell.version == version else None
    return as_input(node, rank_of(op, bit), raw, cell) if tensors else raw


cdef object saved_parts(Node node, int bit, tuple parts, bint tensors, int only):
    """Several outputs, or the elements of a variadic parameter, saved together; or one value that a hook packed.

    With `only`, that output alone: a write to another does not matter.
    """
    cdef Saved part
    cdef Cell cell
    cdef int i
    cdef bint is_output = bit == node.rule.op.n_params
    if len(parts) == 1 and type(parts[0]) is Packed:
        return unpacked_part(node, <Packed>parts[0], 0 if is_output else rank_of(node.rule.op, bit), is_output, tensors)
    values = []
    for i in range(len(parts)):
        if only >= 0 and i != only:
            continue
        part = <Saved>parts[i]
        if type(part.raw) is Packed:
            values.append(unpacked_part(node, <Packed>part.raw, i, is_output, tensors))
            continue
        check_version(node, part.cell, part.version, part.raw, node if is_output else edge_of(node, i), i)
        if not tensors or agrad_is_scalar(<PyObject*>part.raw):
            values.append(part.raw)
        else:
            cell = part.cell if part.cell is None or part.cell.version == part.version else None
            values.append(as_output(node, part.raw, cell, i) if is_output else as_input(node, i, part.raw, cell))
    return tuple(values) if only < 0 else values[0]


cdef Tensor as_output(Node node, object raw, Cell cell, int number):
    """A saved output as a Tensor: it comes back through the node itself."""
    cdef Tensor t = wrap(node.backend, raw)
    t.node, t.number = node, number
    t.flags |= TRACKED
    share_cell(t, cell)
    return t


cdef Tensor as_input(Node node, int k, object raw, Cell cell):
    """A saved input as a Tensor: it comes back through its edge."""
    cdef Tensor t
    edge = edge_of(node, k)
    if isinstance(edge, Tensor):
        if (<Tensor>edge).raw is raw:
            return <Tensor>edge
        t = wrap(node.backend, raw)         # the leaf moved on: a copy of what it was
        t.node = node_over(<Rule>op_copy.rule, node.backend, <Tensor>edge)
        track_node(t.node)
        t.flags |= TRACKED
        return t
    t = wrap(node.backend, raw)
    if edge is not None:
        t.node, t.number = <Node>edge, number_of(node, k)
        t.flags |= TRACKED
    share_cell(t, cell)
    return t


cdef inline int share_cell(Tensor t, Cell cell) except -1:
    if cell is not None:
        t.cell, t.seen = cell, cell.version
        if cell.array is not t.raw:     # a view of what the cell holds
            t.flags |= PINNED
    return 0


cdef str freed_message(Node node):
    return f"{SECOND_TIME} (the values were saved by {node.rule.op.name})"


cdef object like_value(Node node, int parameter, bint tensors):
    """Shape and dtype of an array parameter; a tuple for a variadic one."""
    cdef int k
    if node.rule.op.kinds[parameter] == ARRAYS:
        return tuple([like_in_world(like_of_edge(node, k), tensors) for k in range(node.n_edges)])
    k = rank_of(node.rule.op, parameter)
    return like_in_world(like_of_edge(node, k), tensors)


cdef Like like_of_edge(Node node, int k):
    """The like of an array operand: recorded, or read from the leaf; None if it is that of the output."""
    likes = node.likes
    like = likes if isinstance(likes, Like) else (<tuple>likes)[k] if likes is not None else None
    if like is None:
        edge = edge_of(node, k)
        if isinstance(edge, Tensor):
            return like_of(node.backend, (<Tensor>edge).raw)
    return <Like>like


cdef object call_formula(Node node, Formula formula, object g, bint tensors, object needs):
    """The value of a formula."""
    cdef PyObject* argv[MAX_PARAMS]
    cdef list held
    cdef int i, what
    if formula.kind == CONSTANT:
        return formula.constant
    if formula.kind == VALUE:
        return saved_value(node, lowest_bit(formula.saves), tensors, g)
    held = []
    for i in range(formula.n_args):
        what = formula.what[i]
        if what == OF_G:
            value = g
        elif what == OF_SAVED:
            value = saved_value(node, formula.which[i], tensors, g)
        elif what == OF_OUT:        # which: 0 for all outputs, else one more than the number of one
            value = saved_value(node, node.rule.op.n_params, tensors, g, formula.which[i] - 1)
        elif what == OF_STATIC:
            value = (<tuple>node.args)[formula.which[i]] if node.args is not None else node.rule.op.defaults[formula.which[i]]
            if type(value) is PackedKey:
                value = unpacked_key(value)
            if node.backend.layered:
                value = with_tensors(node.backend, value)
        elif what == OF_LIKE:
            value = like_value(node, formula.which[i], tensors)
        elif what == OF_XP:
            value = node.backend.facade if tensors else node.backend.xp
        else:
            value = needs
        held.append(value)
        argv[i] = <PyObject*>value
    return PyObject_Vectorcall(formula.function, argv, formula.n_args, NULL)


cdef Entry scatter_entry(Node node, Slot* slot, object g, bint tensors):
    """The indexed gradient of a plain indexing op; only the first of a slot needs to know the array's shape."""
    cdef Entry entry = Entry.__new__(Entry)
    cdef bint first = slot.entries == NULL
    entry.key, entry.g = (<tuple>node.args)[1], g
    if type(entry.key) is PackedKey:
        entry.key = unpacked_key(entry.key)
    entry.like = like_in_world(like_of_edge(node, 0), tensors) if first else None
    return entry


cdef inline int lowest_bit(uint32_t mask):
    cdef int i = 0
    while not mask >> i & 1:
        i += 1
    return i


cdef object multiply_raw(Backend backend, object g, object d, int spare):
    """g * conj(d) on raw arrays; `spare` says which of the two may be overwritten."""
    cdef PyObject* args[2]
    cdef PyObject* out
    if backend.speed.multiply != NULL:
        out = backend.speed.multiply(<PyObject*>g, <PyObject*>d, spare)
        if out != NULL:
            result = <object>out
            Py_DECREF(result)
            return result
        if PyErr_Occurred() != NULL:
            raise
    conjugate = d
    if not agrad_is_scalar(<PyObject*>d) and backend.is_complex(d):
        conjugate = backend.xp.conj(d)
    elif type(d) is complex:
        conjugate = d.conjugate()
    args[0], args[1] = <PyObject*>g, <PyObject*>conjugate
    return PyObject_Vectorcall(kernel_inline(op_multiply, backend), args, 2, NULL)


cdef object partial_product(Node node, Formula formula, object g, bint tensors, bint g_spare):
    """Cotangent of an operand of an elementwise op: g * conj(d)."""
    cdef PyObject* args[1]
    if formula.constant_sign == 1:
        return g
    if formula.constant_sign == -1:
        if tensors:
            return unary(op_negative, <Tensor>g)
        args[0] = <PyObject*>g
        return PyObject_Vectorcall(kernel_inline(op_negative, node.backend), args, 1, NULL)
    d = call_formula(node, formula, g, tensors, None)
    if tensors:
        if isinstance(d, Tensor) and (<Tensor>d).backend.is_complex((<Tensor>d).raw):
            d = node.backend.facade.conj(d)
        elif type(d) is complex:
            d = d.conjugate()
        return binary(op_multiply, g, d)
    return multiply_raw(node.backend, g, d, g_spare | (2 if formula.kind == CALL else 0))


cdef object keep_zeros(object xp, object g, object product):
    """g * conj(d), zero where g is and the product is nan: d is infinite or nan there. A finite d keeps its part in second order."""
    return xp.where(xp.logical_and(xp.equal(g, 0), xp.isnan(product)), 0, product)


cdef object keep_all_zeros(Backend backend, object g, object r, bint tensors):
    """The cotangent of an operand of any other op: no nan where all of what came in is zero."""
    xp = backend.facade if tensors else backend.xp
    if type(r) is Product:
        r = dense_product(backend, <Product>r)
    if not (isinstance(r, Tensor) if tensors else is_array(backend, r)):
        return r
    if not (<Tensor>r).backend.is_differentiable((<Tensor>r).raw) if tensors else not backend.is_differentiable(r):
        return r
    zero = None
    for part in g if type(g) is tuple else (g,):
        if part is not None:
            flat = xp.all(xp.equal(part, 0))
            zero = flat if zero is None else xp.logical_and(zero, flat)
    return xp.where(xp.logical_and(zero, xp.isnan(r)), 0, r)


cdef object fit(Node node, int k, object r, object g, bint tensors):
    """A formula's result in the shape and dtype of operand k: broadcast axes summed, dtype cast; or a precise error."""
    cdef Backend backend = (<Tensor>r).backend if tensors and isinstance(r, Tensor) else node.backend
    cdef Like like
    likes = node.likes
    raw = (<Tensor>r).raw if tensors and isinstance(r, Tensor) else r
    if not (isinstance(r, Tensor) if tensors else is_array(backend, r)):
        raise TypeError(f"{label_of(node, k)} returned {type(r).__name__}, expected {'a Tensor' if tensors else f'an array of {backend.name}'}")
    like = likes if isinstance(likes, Like) else <Like>(<tuple>likes)[k] if likes is not None else None
    if like is None:
        edge = edge_of(node, k)
        if isinstance(edge, Tensor):
            if backend is (<Tensor>edge).backend and same_meta(backend, raw, (<Tensor>edge).raw):
                return r
            like = like_of((<Tensor>edge).backend, (<Tensor>edge).raw)
        elif isinstance(g, Tensor):
            if backend is (<Tensor>g).backend and same_meta(backend, raw, (<Tensor>g).raw):
                return r
            like = like_of((<Tensor>g).backend, (<Tensor>g).raw)
        elif same_meta(backend, raw, g):
            return r
        else:
            like = like_of(backend, g)
    shape = shape_of(backend, raw)
    if shape != like.shape if backend.plain else not same_shape(shape, like.shape):
        summed = None if tensors else sum_leading(backend, r, shape, like.shape)
        r = summed if summed is not None else sum_to(node, k, r, shape, like.shape, backend.facade if tensors else backend.xp)
        raw = (<Tensor>r).raw if tensors else r
    dtype = raw.dtype if backend.plain else backend.dtype_of(raw)
    if dtype is not like.dtype and dtype != like.dtype:
        r = cast_to(backend, r, raw, like, backend.facade if tensors else backend.xp)
    return r


cdef object sum_leading(Backend backend, object r, tuple shape, tuple target):
    """The plain case of `sum_to`, only leading axes to sum, by the compiled short cut; None if it is another case."""
    cdef Py_ssize_t i, extra = len(shape) - len(target)
    cdef PyObject* out
    if extra <= 0 or backend.speed.sum_leading == NULL:
        return None
    for i in range(len(target)):
        if shape[extra + i] != target[i]:
            return None
    out = backend.speed.sum_leading(<PyObject*>r, extra)
    if out == NULL:
        if PyErr_Occurred() != NULL:
            raise
        return None
    result = <object>out
    Py_DECREF(result)
    return result


cdef object sum_to(Node node, int k, object r, tuple shape, tuple target, object xp):
    """Undo broadcasting: sum the axes that the operand lacks or has with length 1."""
    cdef int extra = len(shape) - len(target), i
    axes = list(range(extra))
    keep = False
    if extra < 0:
        raise RuntimeError(f"{label_of(node, k)} returned shape {shape}, expected one compatible with {target}")
    for i in range(len(target)):
        if target[i] is not None and target[i] == shape[extra + i]:     # not `!=`: nan is unequal to itself
            continue
        if isinstance(target[i], int) and target[i] == 1:
            axes.append(extra + i)
            keep = True
        elif not isinstance(target[i], int) or not isinstance(shape[extra + i], int):
            raise RuntimeError(f"{label_of(node, k)}: cannot decide whether an axis of unknown length was broadcast "
                               f"(result {shape}, operand {target}); choose with where(mask, x, 0) instead of x[mask], or make the lengths known")
        else:
            raise RuntimeError(f"{label_of(node, k)} returned shape {shape}, expected one compatible with {target}")
    if axes:
        r = xp.sum(r, axis=tuple(axes) if len(axes) > 1 else axes[0])
    return xp.reshape(r, target) if keep else r


cdef object cast_to(Backend backend, object r, object raw, Like like, object xp):
    """Cast a gradient to its operand's dtype; of a real operand only the real part counts."""
    if backend.is_complex(raw) and not backend.is_complex_dtype(like.dtype):
        r = xp.real(r) if isinstance(r, Tensor) else backend.copy(xp.real(r))      # a copy: the view's memory belongs to the complex gradient
        raw = (<Tensor>r).raw if isinstance(r, Tensor) else r
    return xp.astype(r, like.dtype) if backend.dtype_of(raw) != like.dtype else r


cdef str label_of(Node node, int k):
    """Which rule speaks: 'the rule matmul.vjp[x1] of linear_algebra (agrad 0.1)'."""
    cdef Rule rule = node.rule
    formula = rule.joint if rule.joint is not None else rule.formulas[k] if k < len(rule.formulas) else None
    label = (<Formula>formula).label if formula is not None else rule.op.name
    return f"the rule {label} of {rule.source}"
