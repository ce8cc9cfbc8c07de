# Kernel call, wrapping, recording: what happens when an operation runs forward.

cdef object raise_missing(Op op):
    raise NotImplementedError(
        f"{op.name} has no derivative rule: no installed plugin declares one, so it cannot be used on a tensor that requires grad. "
        f"Use it on x.detach(), or declare a rule (see agrad.rules).")


cdef object mixed_backends(Op op, Backend a, Backend b):
    return TypeError(f"{op.name}: tensors of different backends, {a.name} and {b.name}; "
                     f"move one with to(backend={a.name!r}) or to(backend={b.name!r})")


cdef Tensor adopted(Op op, Backend backend, Tensor t):
    """A tensor of another backend on this one, recorded; an error if this backend does not take in others'."""
    if backend.adopts <= t.backend.adopts:
        raise mixed_backends(op, backend, t.backend)
    if backend.layered:
        return lifted(op, backend, t)
    return <Tensor>special_methods["adopt"](t, backend)


cdef int adopt_operands(Op op, Backend backend, PyObject** argv, list held) except -1:
    """Put adopted tensors in the places of those of other backends."""
    cdef int i
    for i in range(op.n_params):
        if argv[i] == NULL or op.kinds[i] not in (ARRAY, ARRAY_OR_NONE, ARRAYS, INDEX):
            continue
        value = <object>argv[i]
        if op.kinds[i] == ARRAYS:
            value = tuple([adopted(op, backend, <Tensor>v) if isinstance(v, Tensor) and (<Tensor>v).backend is not backend else v for v in value])
        elif isinstance(value, Tensor) and (<Tensor>value).backend is not backend:
            value = adopted(op, backend, <Tensor>value)
        held.append(value)
        argv[i] = <PyObject*>value
    return 0


cdef inline object kernel_inline(Op op, Backend backend):
    cdef list kernels = op.kernels
    if live_profilings:
        return timed_kernel(op, backend)
    if backend.number < len(kernels):
        kernel = <object>kernels[backend.number]
        if kernel is not None:
            return kernel
    return kernel_of(op, backend)


cdef inline object operator_on_scalars(Op op, object a, object b):
    """The number slot: four times faster than a kernel where both operands are scalars standing for 0-d arrays."""
    if op is op_add:
        return a + b
    if op is op_multiply:
        return a * b
    if op is op_subtract:
        return a - b
    return a / b


cdef inline object call_binary(Op op, Backend backend, object a, object b):
    """op on two raw operands."""
    cdef PyObject* args[2]
    cdef PyObject* out
    if op.code and not live_profilings:
        if backend.speed.forward != NULL:
            out = backend.speed.forward(op.code, <PyObject*>a, <PyObject*>b)
            if out != NULL:
                result = <object>out
                Py_DECREF(result)
                return result
            if PyErr_Occurred() != NULL:
                raise
        # a complex on the left would take np.float64 for a float
        if type(a) is not backend.array_type and type(b) is not backend.array_type and type(a) is not complex:
            return operator_on_scalars(op, a, b)
    kernel = kernel_inline(op, backend)
    args[0], args[1] = <PyObject*>a, <PyObject*>b
    return PyObject_Vectorcall(kernel, args, 2, NULL)


cdef object foreign_operand(Op op, Backend backend, object value):
    """A raw operand made of an array, or of something that the backend can read as one; NotImplemented."""
    try:
        if is_array(backend, value):
            backend.reject_tracked(value)
            return value
        return backend.operand(value)
    except TypeError as error:
        raise under_name(op, error) from None


cdef object under_name(Op op, object error):
    """The same error, saying which op it came from."""
    kind = TypeError if isinstance(error, TypeError) else ValueError
    return kind(f"{op.name}(): {error}")


cdef object binary(Op op, object a, object b):
    """An operator slot or a function of two arrays: the operator path."""
    cdef Tensor ta, tb
    cdef Backend backend
    cdef Mode mode
    cdef object ra, rb
    if isinstance(a, Tensor):
        ta = <Tensor>a
        synchronise(ta)
        backend, ra = ta.backend, ta.raw
        if isinstance(b, Tensor):
            tb = <Tensor>b
            if tb.backend is not backend:
                return (binary(op, adopted(op, tb.backend, ta), b) if tb.backend.adopts > backend.adopts
                        else binary(op, a, adopted(op, backend, tb)))
            synchronise(tb)
            rb = tb.raw
        else:
            tb = None
            if agrad_is_scalar(<PyObject*>b):
                rb = b
            else:
                rb = foreign_operand(op, backend, b)
                if rb is NotImplemented:
                    return NotImplemented
    elif isinstance(b, Tensor):
        ta, tb = None, <Tensor>b
        synchronise(tb)
        backend, rb = tb.backend, tb.raw
        if agrad_is_scalar(<PyObject*>a):
            ra = a
        else:
            ra = foreign_operand(op, backend, a)
            if ra is NotImplemented:
                return NotImplemented
    else:
        return NotImplemented
    mode = current_mode()
    raw = call_binary(op, backend, ra, rb)
    if isinstance(raw, tuple):
        return wrap_result(op, mode, backend, raw, (a, b), (ra, rb), None, mode.grad and (is_tracked(a) or is_tracked(b)))
    cdef Tensor out = wrap(backend, raw)
    if mode.grad and ((ta is not None and ta.flags & TRACKED) or (tb is not None and tb.flags & TRACKED)):
        record_binary(op, mode, ta, tb, ra, rb, out)
    elif mode.special:
        mark_result(op, mode, out, may_derive(ta) or may_derive(tb))
    if live_tracings:
        trace(op, (a, b), (out,))
    return out


cdef bint is_tracked(object value):
    return isinstance(value, Tensor) and (<Tensor>value).flags & TRACKED


cdef inline Rule rule_of(Op op, Mode mode):
    """The rule to record, None where results are not tracked."""
    if not op.resolved:
        resolve(op)
    rule = op.rule_ if mode.overrides is None else find_override(op, mode.overrides)
    if rule is None:
        raise_missing(op)
    return <Rule>rule


cdef object find_override = None    # installed with the overrides: (op, overrides) -> Rule


def install_overrides(finder):
    """Tell the engine how overriding rules are found; called once by agrad.rules."""
    global find_override
    find_override = finder


cdef inline int set_edge(Node node, int i, Tensor t) except -1:
    """Edge i goes to the node that made t, or to the leaf t itself."""
    cdef object edge
    if t.node is not None:
        edge = t.node
        if t.node.flags & NODE_RICH:
            track_node(node)
    else:
        edge = t
        if t.flags & RICH:
            track_node(node)
    if i == 0:
        node.edge0, node.number0 = edge, t.number
    else:
        node.edge1, node.number1 = edge, t.number
    return 0


cdef inline Node node_over(Rule rule, Backend backend, Tensor source):
    """A node with one edge."""
    cdef Node node = new_node(rule, backend)
    node.n_edges = 1
    set_edge(node, 0, source)
    return node


cdef inline int save(Node node, Tensor t, object raw) except -1:
    """Save a raw value in the first free field; t is None for scalars and plain arrays."""
    cdef Cell cell = None
    cdef uint32_t version = 0
    if t is not None and t.flags & INFERENCE:
        raise RuntimeError(INFERENCE_SAVED)
    if live_saved_hooks and save_packed(node, t, raw):
        return 0
    if t is not None:
        cell = cell_of(t)
        version = cell.version
        cell.saved_version = version + 1
    return put_saved(node, raw, cell, version)


cdef inline int put_saved(Node node, object raw, Cell cell, uint32_t version) except -1:
    if node.saved0 is None:
        node.saved0, node.cell0, node.version0 = raw, cell, version
    elif node.saved1 is None:
        node.saved1, node.cell1, node.version1 = raw, cell, version
    else:
        details = details_of(node)
        if details.saved is None:
            details.saved = []
        details.saved.append(new_saved(raw, cell, version))
    return 0


cdef Saved new_saved(object raw, Cell cell, uint32_t version):
    cdef Saved saved = Saved.__new__(Saved)
    saved.raw, saved.cell, saved.version = raw, cell, version
    return saved


cdef int record_binary(Op op, Mode mode, Tensor ta, Tensor tb, object ra, object rb, Tensor out) except -1:
    """Record an op of two arrays: the plain case of `record`."""
    cdef Rule rule = rule_of(op, mode)
    cdef Formula f0, f1
    cdef Backend backend = out.backend
    cdef uint32_t saves = 0, likes = 0
    cdef Like like0 = None, like1 = None
    cdef bint tracked = False
    if not rule.differentiable:
        return 0
    if rule.joint is not None:
        record_operands(op, rule, (ta if ta is not None else ra, tb if tb is not None else rb), (ra, rb), None, out)
        return 0
    f0, f1 = rule.formulas
    cdef Node node = new_node(rule, backend)
    node.n_edges = 2
    if ta is not None and ta.flags & TRACKED and f0 is not None:
        tracked = True
        set_edge(node, 0, ta)
        saves |= f0.saves
        likes |= f0.likes
        if ta.node is not None and not same_meta(backend, ra, out.raw):
            like0 = like_of(backend, ra)
    if tb is not None and tb.flags & TRACKED and f1 is not None:
        tracked = True
        set_edge(node, 1, tb)
        saves |= f1.saves
        likes |= f1.likes
        if tb.node is not None and not same_meta(backend, rb, out.raw):
            like1 = like_of(backend, rb)
    if not tracked:
        return 0
    node.saved_mask = saves
    if saves & 1:
        save(node, ta, ra)
    if saves & 2:
        save(node, tb, rb)
    out.node = node
    out.flags |= TRACKED
    if saves & 4:
        save(node, out, out.raw)
    if likes & 1 and like0 is None:
        like0 = like_of_operand(backend, ra, out.raw)
    if likes & 2 and like1 is None:
        like1 = like_of_operand(backend, rb, out.raw)
    if like0 is not None or like1 is not None:
        node.likes = (like0, like1)
    if ta is None or tb is None:
        mark_scalars(node, ra, rb)
    return 0


cdef int mark_scalars(Node node, object ra, object rb) except -1:
    """Remember which operands were Python scalars where the node's name depends on it."""
    if callable(node.rule.node_name):
        details_of(node).scalar_mask = agrad_is_scalar(<PyObject*>ra) | agrad_is_scalar(<PyObject*>rb) << 1
    return 0


cdef Like like_of_operand(Backend backend, object raw, object out):
    """Shape and dtype of an operand; a Python scalar counts as 0-d of the result's dtype."""
    cdef Like like
    if not agrad_is_scalar(<PyObject*>raw):
        return like_of(backend, raw)
    like = like_of(backend, out)
    like.shape = ()
    return like


cdef object unary(Op op, Tensor t):
    """A function of one array."""
    cdef Mode mode = current_mode()
    cdef PyObject* args[1]
    cdef Rule rule
    cdef Formula f
    cdef Tensor out
    synchronise(t)
    args[0] = <PyObject*>t.raw
    result = PyObject_Vectorcall(kernel_inline(op, t.backend), args, 1, NULL)
    if not is_array(t.backend, result):
        return wrap_result(op, mode, t.backend, result, (t,), (t.raw,), None, mode.grad and (t.flags & TRACKED) != 0)
    out = wrap(t.backend, result)
    if mode.grad and t.flags & TRACKED:
        rule = rule_of(op, mode)
        if rule.joint is not None:
            record_operands(op, rule, (t,), (t.raw,), None, out)
        elif rule.differentiable:
            f = rule.formulas[0]
            node = node_over(rule, t.backend, t)
            node.saved_mask = f.saves
            if f.saves & 1:
                save(node, t, t.raw)
            out.node = node
            out.flags |= TRACKED
            if f.saves & 2:
                save(node, out, out.raw)
            if t.node is not None and (f.likes or not same_meta(t.backend, t.raw, result)):
                node.likes = like_of(t.backend, t.raw)
    elif mode.special:
        mark_result(op, mode, out, may_derive(t))
    if op.view:
        note_view(op, mode, t, out, None, -1)
    if live_tracings:
        trace(op, (t,), (out,))
    return out


# ---- the general case

cdef Backend find_backend(Op op, PyObject** argv):
    """The backend of the tensors among the arguments; else that of a plain array."""
    cdef Backend backend = None
    cdef int i, kind
    for i in range(op.n_params):
        kind = op.kinds[i]
        if argv[i] == NULL or kind == STATIC:
            continue
        value = <object>argv[i]
        if kind in (ARRAY, ARRAY_OR_NONE, INDEX) and isinstance(value, Tensor):
            backend = check_backend(op, backend, (<Tensor>value).backend)
        elif kind == ARRAYS:
            for element in value:
                if isinstance(element, Tensor):
                    backend = check_backend(op, backend, (<Tensor>element).backend)
        elif kind == KEY:
            backend = backend_of_key(backend, value)
    if backend is not None:
        return backend
    for i in range(op.n_params):
        if argv[i] != NULL and op.kinds[i] in (ARRAY, ARRAY_OR_NONE, ARRAYS, INDEX):
            for element in (<object>argv[i] if op.kinds[i] == ARRAYS else (<object>argv[i],)):
                found = special_methods["backend_of"](element)
                if found is not None:
                    return <Backend>found
    for i in range(op.n_params):
        if argv[i] != NULL and op.kinds[i] in (ARRAY, ARRAYS):
            raise TypeError(f"{op.name}() expects a Tensor or an array for {op.parameters[i]!r}, but got {type(<object>argv[i]).__name__}; "
                            "make one with agrad.asarray(...)")
    missing = [name for i, name in enumerate(op.parameters) if argv[i] == NULL and op.defaults[i] is REQUIRED]
    raise TypeError(f"{op.name}() missing required argument: {missing[0]!r}" if missing else f"{op.name}() got no array")


cdef inline Backend check_backend(Op op, Backend one, Backend other):
    if one is not None and one is not other:
        if one.adopts == other.adopts:
            raise mixed_backends(op, one, other)
        return one if one.adopts > other.adopts else other
    return other


cdef object apply(Op op, PyObject** argv):
    """An op with bound arguments: argv has one entry per parameter, NULL where none was given."""
    cdef Mode mode = current_mode()
    cdef Backend backend
    cdef PyObject* call[MAX_PARAMS]
    cdef int i, kind, n = 0, n_given
    cdef bint tracked = False, statics = False
    cdef list raws, operands, names = [], guards = [], held = []
    cdef object value, args = None, out
    if not op.resolved:
        resolve(op)
    backend = find_backend(op, argv)
    if backend.adopts:
        adopt_operands(op, backend, argv, held)
    raws = [None] * op.n_params
    operands = []
    n_given = 0
    for i in range(op.n_params):
        if argv[i] == NULL:
            if op.defaults[i] is REQUIRED:
                raise TypeError(f"{op.name}() missing required argument: {op.parameters[i]!r}")
            if op.kinds[i] in (ARRAY, ARRAY_OR_NONE):
                operands.append(None)
            if not op.explicit or op.kinds[i] in (ARRAY, ARRAY_OR_NONE):
                continue
            argv[i] = <PyObject*>op.defaults[i]
        kind = op.kinds[i]
        value = <object>argv[i]
        if kind == ARRAY or kind == ARRAY_OR_NONE:
            operands.append(value)
            if value is not None:
                raws[i] = raw_operand(op, i, backend, value)
                tracked |= isinstance(value, Tensor) and (<Tensor>value).flags & TRACKED
            elif kind == ARRAY:
                raise TypeError(f"{op.name}() expects a Tensor for {op.parameters[i]!r}, but got None")
        elif kind == ARRAYS:
            operands.extend(value)
            raws[i] = tuple([raw_operand(op, i, backend, element) for element in value])
            for element in value:
                tracked |= isinstance(element, Tensor) and (<Tensor>element).flags & TRACKED
        elif kind == INDEX and value is not None and not agrad_is_scalar(<PyObject*>value):
            raws[i] = raw_key(backend, value, guards)
            statics = True
        elif kind == KEY:
            raws[i] = raw_key(backend, value, guards)
            statics = True
        else:
            raws[i] = (static_value(op, i, value) if value is None or kind not in (DTYPE, DEVICE, SHAPE)
                       else shape_value(op, backend, value) if kind == SHAPE
                       else place_value(op, backend, kind, value))
            statics = True
        if i < op.n_positional:
            n_given = i + 1
    for i in range(op.n_params):
        if i < n_given:
            if argv[i] == NULL:
                raws[i] = op.defaults[i]
            call[n] = <PyObject*>raws[i]
            n += 1
        elif argv[i] != NULL:
            call[n] = <PyObject*>raws[i]
            names.append(op.parameters[i])
            n += 1
    name_tuple = tuple(names) if names else None
    if op.spread >= 0:
        out = kernel_inline(op, backend)(*raws[:op.spread], *raws[op.spread], **{name: raws[op.parameters.index(name)] for name in names})
    else:
        out = PyObject_Vectorcall(kernel_inline(op, backend), call, n - len(names), <PyObject*>name_tuple if name_tuple is not None else NULL)
    if statics:
        args = tuple([None if op.kinds[i] in (ARRAY, ARRAY_OR_NONE, ARRAYS) else raws[i] if argv[i] != NULL else op.defaults[i]
                      for i in range(op.n_params)])
    return wrap_result(op, mode, backend, out, tuple(operands), tuple(raws), args, tracked and mode.grad, guards)


cdef object wrap_result(Op op, Mode mode, Backend backend, object raw, tuple operands, tuple raws, object args, bint track, list guards=None):
    """Tensors around what a kernel returned, recorded if need be."""
    cdef Tensor out
    cdef Rule rule = None
    cdef int i
    if track:
        rule = rule_of(op, mode)
        if not rule.differentiable:
            rule = None
    if is_array(backend, raw):
        out = wrap(backend, raw)
        if rule is not None and (op.operators or backend.is_differentiable(raw)):
            record_operands(op, rule, operands, raws, args, out, guards)
        elif mode.special:
            mark_result(op, mode, out, any([may_derive(operand) for operand in operands]))
        if op.view and isinstance(operands[0], Tensor):
            note_view(op, mode, <Tensor>operands[0], out, args, -1)
        if live_tracings:
            trace(op, operands, (out,))
        return out
    if isinstance(raw, (tuple, list)) and raw and is_array(backend, raw[0]):
        outputs = [wrap(backend, part) for part in raw]
        if rule is not None:
            record_outputs(op, rule, operands, raws, args, outputs, guards)
        for i in range(len(outputs)):
            if mode.special:
                mark_result(op, mode, <Tensor>outputs[i], any([may_derive(operand) for operand in operands]))
            if op.view and op.spread == 0:
                note_spread_view(mode, operands[i], <Tensor>outputs[i])
            elif op.view and isinstance(operands[0], Tensor):
                note_view(op, mode, <Tensor>operands[0], <Tensor>outputs[i], args, i)
        if live_tracings:
            trace(op, operands, tuple(outputs))
        return type(raw)._make(outputs) if hasattr(type(raw), "_make") else tuple(outputs)
    return raw


cdef Node record_operands(Op op, Rule rule, tuple operands, tuple raws, object args, Tensor out, list guards=None):
    """Make the node of an op with any number of array operands and one output."""
    cdef Node node = new_record(op, rule, operands, raws, args, out.backend, out.raw, guards)
    if node is None:
        return None
    out.node = node
    out.flags |= TRACKED
    if node.saved_mask >> op.n_params & 1:
        save(node, out, out.raw)
    return node


cdef int record_outputs(Op op, Rule rule, tuple operands, tuple raws, object args, list outputs, list guards) except -1:
    """Make the node of an op with several outputs; outputs that cannot carry gradients stay untracked."""
    cdef int i
    cdef Tensor out
    cdef Node node = new_record(op, rule, operands, raws, args, (<Tensor>outputs[0]).backend, None, guards)
    if node is None:
        return 0
    details_of(node).n_outputs, node.details.several = len(outputs), True
    for i in range(len(outputs)):
        out = <Tensor>outputs[i]
        if out.backend.is_differentiable(out.raw):
            out.node, out.number = node, i
            out.flags |= TRACKED
    if node.saved_mask >> op.n_params & 1:
        # the outputs together are one saved value: a tuple of Saved
        parts = []
        for t in outputs:
            cell = cell_of(<Tensor>t)
            cell.saved_version = cell.version + 1
            parts.append(new_saved((<Tensor>t).raw, cell, cell.version))
        save(node, None, tuple(parts))
    return 0


cdef Node new_record(Op op, Rule rule, tuple operands, tuple raws, object args, Backend backend, object out, list guards):
    """A node with its edges, saved inputs and likes; None if no operand with a derivative is tracked.

    `out` is the raw result whose shape the likes are compared with; None for several outputs.
    """
    cdef int i, k, n = len(operands)
    cdef uint32_t saves = 0, likes = 0, scalar_mask = 0
    cdef Formula formula
    cdef Tensor t
    cdef bint named
    cdef Cell cell
    cdef list like_list = [None] * n
    cdef bint any_like = False
    wanted = [isinstance(operand, Tensor) and ((<Tensor>operand).flags & TRACKED) != 0 and
              (rule.joint is not None or rule.formulas[i] is not None) for i, operand in enumerate(operands)]
    if True not in wanted:
        return None
    cdef Node node = new_node(rule, backend)
    node.n_edges = n
    if n > 2:
        details_of(node).edges = [None] * n
        node.details.numbers = [0] * n
    if rule.joint is not None:
        saves, likes = rule.joint.saves, rule.joint.likes
        details_of(node).needs = tuple(wanted)
    for k in range(n):
        if not wanted[k]:
            continue
        t = <Tensor>operands[k]
        if n <= 2:
            set_edge(node, k, t)
        else:
            node.details.edges[k] = t.node if t.node is not None else t
            node.details.numbers[k] = t.number
            if t.flags & RICH or (t.node is not None and t.node.flags & NODE_RICH):
                track_node(node)
        if rule.joint is None:
            formula = rule.formulas[k]
            saves |= formula.saves
            likes |= formula.likes
    # likes by array operand: wanted by a formula, or needed to undo broadcasting
    named = op.n_arrays < 0 and likes != 0
    k = 0
    for i in range(op.n_params):
        if op.kinds[i] in (ARRAY, ARRAY_OR_NONE) and op.n_arrays >= 0:
            if raws[i] is not None and (likes >> i & 1 or (
                    wanted[k] and (<Tensor>operands[k]).node is not None and (out is None or not same_meta(backend, raws[i], out)))):
                like_list[k] = like_of_operand(backend, raws[i], out if out is not None else raws[0])
                any_like = True
            if raws[i] is not None and agrad_is_scalar(<PyObject*>raws[i]):
                scalar_mask |= <uint32_t>1 << <uint32_t>i
            k += 1
        elif op.kinds[i] == ARRAYS:
            for element in raws[i]:
                if named or (wanted[k] and (<Tensor>operands[k]).node is not None and (out is None or not same_meta(backend, element, out))):
                    like_list[k] = like_of_operand(backend, element, out if out is not None else element)
                    any_like = True
                k += 1
        else:
            saves &= ~(<uint32_t>1 << <uint32_t>i)      # index arrays and keys are kept in args
    if any_like:
        node.likes = like_list[0] if n == 1 else tuple(like_list)
    if scalar_mask and callable(rule.node_name):
        details_of(node).scalar_mask = scalar_mask
    node.saved_mask = saves
    k = 0
    for i in range(op.n_params):
        if op.kinds[i] in (ARRAY, ARRAY_OR_NONE) and op.n_arrays >= 0:
            if saves >> i & 1:
                if raws[i] is None:
                    node.saved_mask &= ~(<uint32_t>1 << <uint32_t>i)
                else:
                    save(node, <Tensor>operands[k] if isinstance(operands[k], Tensor) else None, raws[i])
            k += 1
        elif op.kinds[i] == ARRAYS and saves >> i & 1:
            parts = []
            for operand, raw in zip(operands, raws[i]):
                cell = cell_of(<Tensor>operand) if isinstance(operand, Tensor) else None
                if cell is not None:
                    cell.saved_version = cell.version + 1
                parts.append(new_saved(raw, cell, cell.version if cell is not None else 0))
            save(node, None, tuple(parts))
    node.args = args
    if guards:
        note_guards(node, guards)
    return node


def record_transfer(Tensor t not None, Backend backend not None, raw, Rule rule not None, tuple args):
    """A tensor whose raw value was moved from `t` to another backend or device, with the node that brings gradients back."""
    cdef Tensor out = wrap(backend, raw)
    if current_mode().grad and t.flags & TRACKED:
        out.node = node_over(rule, backend, t)
        out.node.args = args
        out.flags |= TRACKED
    elif current_mode().deriving and may_derive(t):
        out.flags |= DERIVED
    return out
