# Writes, versions, views.
#
# Tensors on the same storage share a cell. A write on a mutable backend goes into the array, elsewhere it puts a new array into the cell;
# either way the version goes up, and who shares the cell brings itself up to date when it is next looked at (`synchronise`).
# A view is remade from its base by the view operations it was taken with; that also rebuilds its history.

cdef int note_view(Op op, Mode mode, Tensor base, Tensor out, object args, int output) except -1:
    """Remember that `out` is a view of `base`, if it is one."""
    cdef View view
    cdef Tensor root
    out.flags |= base.flags & INFERENCE
    if base.flags & INFERENCE or out is base:
        return 0
    if op.view == 2 and out.raw is not base.raw and not in_same_memory(base.backend, out.raw, base.raw):
        return 0
    if base.backend.mutable and type(out.raw) is base.backend.array_type:
        if type(base.raw) is base.backend.array_type:
            if not may_share(base.backend, out.raw, base.raw):
                return 0
        elif not take_from_array(op, mode, base, out, args, output):
            return 0
    view = View.__new__(View)
    root = base if base.view_ is None or base.view_.detached else base.view_.base      # a detached view has a history of its own
    view.base, view.parent, view.op, view.args, view.output = root, base.view_ if root is not base else None, op, args, output
    view.recording = mode.grad
    view.base_node, view.base_tracked = root.node, (root.flags & TRACKED) != 0
    out.view_ = view
    out.flags &= <uint8_t>~INFERENCE       # a view of a normal tensor is normal
    out.cell = cell_of(root)
    out.seen = out.cell.version
    view.aliases = shares_with_base(view, out.raw)
    return 0


cdef inline bint may_share(Backend backend, object a, object b) except -1:
    return backend.speed.shares(<PyObject*>a, <PyObject*>b) if backend.speed.shares != NULL else backend.shares(a, b)


cdef inline bint in_same_memory(Backend backend, object a, object b) except -1:
    """Whether two raw arrays share memory that can be written; scalars and immutable arrays have none."""
    return backend.mutable and type(a) is backend.array_type and type(b) is backend.array_type and may_share(backend, a, b)


cdef inline bint shares_with_base(View view, object raw) except -1:
    """Whether a view's raw array lies in the base's memory."""
    return in_same_memory(view.base.backend, raw, view.base.raw)


cdef bint take_from_array(Op op, Mode mode, Tensor base, Tensor out, object args, int output) except -1:
    """A scalar stands for the base: take the view again from an array, so that it can share memory. False if the op copies."""
    cdef View own = base.view_
    cdef Tensor source
    set_mode(mode.replace(grad=False, inference=True))
    try:
        if own is None or own.op is not op_getitem:
            anchor = base.array
        else:
            source = own.base if own.parent is None else replay(own.parent)
            key = (<tuple>own.args)[1]
            key = key if type(key) is tuple else (key,)
            anchor = source.array[key if Ellipsis in key else (*key, Ellipsis)]     # x[0, ...] is a 0-d view where x[0] is a scalar
        result = replay_op(op, args, wrap(base.backend, anchor))
    finally:
        set_mode(mode)
    raw = (<Tensor>(result if output < 0 else result[output])).raw
    if not may_share(base.backend, raw, anchor):
        return False
    out.raw = raw
    return True


cdef int note_spread_view(Mode mode, object source, Tensor out) except -1:
    """An output of broadcast_arrays or meshgrid is a view of its own input: the same as broadcast_to, or else it gets memory of its own."""
    if not isinstance(source, Tensor):
        return 0
    note_view(number_ops["broadcast_to"], mode, <Tensor>source, out, (None, shape_of(out.backend, out.raw)), -1)
    if out.view_ is not None and not can_broadcast(shape_of(out.backend, (<Tensor>source).raw), shape_of(out.backend, out.raw)):
        out.view_, out.cell, out.seen, out.raw = None, None, 0, out.backend.copy(out.raw)
    return 0


cdef bint can_broadcast(tuple source, tuple target):
    """Whether broadcast_to leads from one shape to the other."""
    cdef Py_ssize_t i, extra = len(target) - len(source)
    if extra < 0:
        return False
    for i in range(len(source)):
        if source[i] != target[extra + i] and source[i] != 1:
            return False
    return True


cdef View untracked_view(View view):
    """The same view for a detached tensor: its history is never rebuilt."""
    cdef View twin = View.__new__(View)
    twin.base, twin.parent, twin.op, twin.args, twin.output = view.base, view.parent, view.op, view.args, view.output
    twin.aliases = view.aliases
    twin.detached, twin.base_node, twin.base_tracked = True, view.base_node, view.base_tracked
    return twin


cdef int refresh(Tensor t) except -1:
    """Bring a tensor up to date with its storage."""
    cdef View view = t.view_
    cdef Tensor base, remade
    if t.flags & PINNED:
        return 0
    if view is None:
        t.raw, t.seen = t.cell.array, t.cell.version
        return 0
    base = view.base
    synchronise(base)
    changed = base.node is not view.base_node or (base.flags & TRACKED) > view.base_tracked
    if changed and t.flags & TRACKED:
        refuse_custom_view(t, "its base or another view of its base has been")
    rebase = view.recording and changed
    mode = current_mode()
    set_mode(mode.replace(grad=rebase or t.backend.layered, inference=False))      # inside a transform, what is inside has a history too
    try:
        remade = replay(view)
    finally:
        set_mode(mode)
    t.raw, t.seen = remade.raw, t.cell.version
    view.aliases = shares_with_base(view, t.raw)
    view.base_node, view.base_tracked = base.node, (base.flags & TRACKED) != 0
    if rebase:
        adopt_history(t, remade)
    return 0


cdef int refuse_custom_view(Tensor t, str what) except -1:
    """Raise if a tensor is a view that a user's function returned, or is taken from one: its base and its history would not agree."""
    cdef View view = t.view_
    while view is not None and view.function is None:
        view = view.parent
    if view is None:
        return 0
    name, several = view.function
    if several:
        raise RuntimeError(
            f"Output {t.number} of {name} is a view and {what} modified inplace. This view is the output of a function that returns multiple views. "
            "Such functions do not allow the output views to be modified inplace. You should replace the inplace operation by an out-of-place one.")
    raise RuntimeError(
        f"Output {t.number} of {name} is a view and {what} modified inplace. This view was created inside a custom Function (or because an input was "
        "returned as-is) and the autograd logic to handle view+inplace would override the custom backward associated with the custom Function, "
        "leading to incorrect gradients. This behavior is forbidden. You can fix this by cloning the output of the custom Function.")


cdef Tensor replay(View view):
    """Take a view again from its base."""
    cdef View step = view
    cdef Tensor source = view.base
    steps = []
    while step is not None:         # not by recursion: views of views may be nested deeply
        steps.append(step)
        step = step.parent
    for step in reversed(steps):
        result = replay_op(step.op, step.args, source)
        source = <Tensor>(result if step.output < 0 else result[step.output])
    return source


cdef object replay_op(Op op, object args, Tensor source):
    cdef PyObject* argv[MAX_PARAMS]
    cdef int i
    memset(argv, 0, MAX_PARAMS * sizeof(PyObject*))
    argv[0] = <PyObject*>source
    if args is not None:
        for i in range(1, op.n_params):
            if (<tuple>args)[i] is not REQUIRED:
                argv[i] = <PyObject*>(<tuple>args)[i]
    return apply(op, argv)


def view_steps(Tensor t not None):
    """The view operations that lead from the base to a view: a tuple of (op, arguments, output)."""
    cdef View view = t.view_
    steps = []
    while view is not None:
        steps.append((view.op, view.args, view.output))
        view = view.parent
    return tuple(reversed(steps))


# ---- what may be written

cdef int check_writable(Tensor t, Mode mode, bint tracks, bint item=False) except -1:
    """Raise unless `t` may be written in place; `tracks`: the write will be recorded."""
    cdef View view = t.view_
    if t.flags & INFERENCE and not mode.inference:
        raise RuntimeError(
            "Inplace update to inference tensor outside InferenceMode is not allowed.You can make a clone to get a normal tensor before doing "
            "inplace update.See https://github.com/pytorch/rfcs/pull/17 for more details.")
    if (t.flags if view is None else view.base.flags) & SNAPSHOT:
        raise RuntimeError("inside a transform (vmap, jvp, ...) detach() and .data give a value of its own, not another name of the tensor's memory: "
                           "write to the tensor, or to a clone() of the value")
    if view is not None and mode.grad and t.flags & TRACKED:
        refuse_custom_view(t, "is being")
    if mode.grad and t.flags & TRACKED and t.node is None:
        if view is None and not item:
            raise RuntimeError("a leaf Variable that requires grad is being used in an in-place operation.")
    if mode.grad and item and t.flags & TRACKED and t.node is None:     # PyTorch writes items through a view
        raise RuntimeError("a view of a leaf Variable that requires grad is being used in an in-place operation.")
    if view is None:
        return 0
    if not view.detached and mode.grad and view.base.flags & TRACKED and view.base.node is None:
        raise RuntimeError("a view of a leaf Variable that requires grad is being used in an in-place operation.")
    if mode.grad and not view.recording and not view.detached and (tracks or view.base.flags & TRACKED):
        raise RuntimeError(
            "A view was created in no_grad mode and is being modified inplace with grad mode enabled. Given that this use case is ambiguous and "
            "error-prone, it is forbidden. You can clarify your code by moving both the view and the inplace either both inside the no_grad block "
            "(if you don't want the inplace to be tracked) or both outside (if you want the inplace to be tracked).")
    while view is not None:
        if view.op.name in ("broadcast_to", "broadcast_arrays", "meshgrid"):
            raise RuntimeError("unsupported operation: more than one element of the written-to tensor refers to a single memory location. Please "
                               "clone() the tensor before performing the operation.")
        if view.output >= 0 and mode.grad and not t.view_.detached and (tracks or t.view_.base.flags & TRACKED) and not copies_saved(mode):
            name = "Unbind" if view.op.name == "unstack" else view.op.name.capitalize()
            raise RuntimeError(
                f"Output {view.output} of {name} is a view and is being modified inplace. This view is the output of a function that returns "
                "multiple views. Such functions do not allow the output views to be modified inplace. You should replace the inplace operation "
                "by an out-of-place one.")
        view = view.parent
    return 0


cdef object configured_policy = None        # installed: the configured ("raise" or "copy", whether zero stays zero)


def install_policy(policy):
    """Tell the engine who knows the configuration: the policy for writes to saved values, and whether a cotangent of zero stays zero."""
    global configured_policy
    configured_policy = policy


cdef bint copies_saved(Mode mode) except -1:
    """Whether writes leave saved values as they are."""
    policy = mode.on_saved_write if mode.on_saved_write is not None else configured_policy()[0]
    return policy == "copy"


cdef bint zeros_stay(Mode mode) except -1:
    """Whether a cotangent of zero stays zero in a walk; where writes copy it does unless the program says otherwise."""
    if mode.zero_stays_zero is not None:
        return mode.zero_stays_zero
    policy, zeros = configured_policy()
    return zeros or (policy if mode.on_saved_write is None else mode.on_saved_write) == "copy"


cdef bint must_move(Tensor t, Mode mode) except -1:
    """Whether a write has to leave the present array to those who saved it."""
    cdef Cell cell = t.cell
    return cell is not None and cell.saved_version == cell.version + 1 and copies_saved(mode)


cdef int move(Tensor t) except -1:
    """Put a copy into the storage, so that the saved array stays as it is."""
    cdef Tensor base = t.view_.base if t.view_ is not None else t
    cdef Cell cell = cell_of(t)
    if cell.moves is None:
        cell.moves = set()
    cell.moves.add(cell.version)
    cell.array = base.backend.copy_like(base.raw, base.raw)
    cell.version += 1
    synchronise(t)
    return 0


cdef inline int wrote(Tensor t, Op op) except -1:
    """A write to the storage of `t` is done."""
    cdef Cell cell = cell_of(t)
    cell.version += 1
    cell.writer = op
    t.seen = cell.version
    return 0


cdef inline bint in_memory(Tensor t):
    """Whether writing to the raw array writes to the storage."""
    return t.backend.mutable and type(t.raw) is t.backend.array_type and (t.view_ is None or t.view_.aliases)


cdef int store(Tensor t, object value, Op op) except -1:
    """Put a raw value into the storage of `t`; it is broadcast and cast to the shape and dtype of `t`."""
    cdef Tensor base
    if in_memory(t):
        t.backend.write(t.raw, value)
        wrote(t, op)
        return 0
    fitted = fit_value(t, value)
    if t.view_ is None:
        wrote(t, op)
        t.raw = t.cell.array = fitted
        return 0
    base = t.view_.base
    if t.backend.mutable:
        base.array      # a scalar that stands for an array becomes one, so that views can be taken of it
    mode = current_mode()
    set_mode(mode.replace(grad=mode.grad and t.backend.layered))
    try:
        written = call_with(op_write_view, (wrap(base.backend, base.raw), wrap(t.backend, fitted), view_steps(t)))
    finally:
        set_mode(mode)
    store(base, (<Tensor>written).raw, op)
    t.raw, t.seen = fitted, base.seen
    return 0


cdef object fit_value(Tensor t, object value):
    """A raw value in the shape and dtype of `t`, for storages that cannot be written in place."""
    xp = t.backend.xp
    dtype = t.backend.dtype_of(t.raw)
    if agrad_is_scalar(<PyObject*>value):
        value = t.backend.scalar(value, dtype, t.backend.device_of(t.raw))
    elif t.backend.dtype_of(value) != dtype:
        value = xp.astype(value, dtype)
    shape = t.backend.shape_of(t.raw)
    return t.backend.normalise(value if t.backend.shape_of(value) == shape else xp.broadcast_to(value, shape))


# ---- in-place operations

cdef object inplace_operator(Op op, Tensor t, object other):
    """x += y and its like."""
    cdef PyObject* argv[MAX_PARAMS]
    memset(argv, 0, MAX_PARAMS * sizeof(PyObject*))
    if not (isinstance(other, Tensor) or agrad_is_scalar(<PyObject*>other)) and foreign_operand(op, t.backend, other) is NotImplemented:
        return NotImplemented
    argv[0], argv[1] = <PyObject*>t, <PyObject*>other
    return inplace(op, t, argv)


cdef object inplace(Op op, Tensor t, PyObject** argv):
    """Write op(t, ...) into t; recorded, it gives t (or the base of the view t) a new history."""
    cdef Mode mode = current_mode()
    cdef Tensor old, out
    cdef bint tracks = mode.grad and any_tracked(op, argv)
    deepen_for(op, t, argv, tracks)
    synchronise(t)
    check_writable(t, mode, tracks)
    if must_move(t, mode):
        move(t)
    if not tracks and op.code and not mode.deriving and not live_profilings and in_place_fast(op, t, argv):
        if live_tracings:
            trace(op, (t, <object>argv[1]), (t,))
        return t
    old = stand_in(t, op, tracks)
    argv[0] = <PyObject*>old
    out = <Tensor?>apply(op, argv)
    check_result(t, out)
    if must_move(t, mode):
        move(t)         # saved just now: x.mul_(x)
    store(t, out.raw, op)
    if tracks:
        rebase_history(t, out)
    elif mode.deriving:
        mark_written(t, out)
    if live_tracings:
        trace(op_copy, (out,), (t,))
    return t


cdef bint any_tracked(Op op, PyObject** argv) except -1:
    cdef int i
    for i in range(op.n_params):
        if argv[i] != NULL and isinstance(<object>argv[i], Tensor):
            synchronise(<Tensor>argv[i])
            if (<Tensor>argv[i]).flags & TRACKED:
                return True
    return False


cdef bint in_place_fast(Op op, Tensor t, PyObject** argv) except -1:
    """+, -, *, / into a mutable array, without a temporary and without recording."""
    if not in_memory(t) or argv[1] == NULL:
        return False
    raw = t.raw
    other = raw_operand(op, 1, t.backend, <object>argv[1])
    if not t.backend.writes_alike(raw, other, op is op_divide):
        return False
    if op is op_add:
        raw += other
    elif op is op_multiply:
        raw *= other
    elif op is op_subtract:
        raw -= other
    else:
        raw /= other
    wrote(t, op)
    return True


cdef Tensor stand_in(Tensor t, Op op, bint tracks):
    """The value of `t` before it is overwritten: a copy where the rule will want to read it."""
    cdef Tensor old = wrap(t.backend, t.raw)
    if not op.resolved:
        resolve(op)
    if tracks and op.rule_ is not None and (<Rule>op.rule_).saves_any & 1:
        old.raw = t.backend.copy(t.raw)
    old.node, old.number, old.flags = t.node, t.number, t.flags & ~INFERENCE
    return old


cdef int check_result(Tensor t, Tensor out) except -1:
    """The result must be storable: no larger shape, no higher kind of dtype."""
    shape, new = t.backend.shape_of(t.raw), out.backend.shape_of(out.raw)
    if new != shape:
        raise RuntimeError(f"output with shape {list(shape)} doesn't match the broadcast shape {list(new)}")
    special_methods["check_cast"](out.dtype, t.dtype)
    return 0


cdef int rebase_history(Tensor t, Tensor out) except -1:
    """After a recorded write: `t` gets the history of `out`; of a view, the base gets it."""
    cdef Tensor base, old
    cdef Node node
    if t.view_ is None or t.view_.detached:
        adopt_history(t, out)
        return 0
    base = t.view_.base
    synchronise(base)
    old = wrap(base.backend, base.raw)
    old.node, old.number, old.flags = base.node, base.number, base.flags
    steps = view_steps(t)
    if base.state is not None and base.state.retains:
        stop_retaining(base)
    node = record_operands(op_write_view, rule_of(op_write_view, current_mode()), (old, out), (old.raw, out.raw, None), (None, None, steps), base)
    if node is not None:
        base.number = 0
        if base.state is not None and base.state.retains:
            keep_retaining(base, True)
    refresh(t)
    return 0


cdef int adopt_history(Tensor t, Tensor out) except -1:
    if t.state is not None and t.state.retains:
        stop_retaining(t)
    t.node, t.number = out.node, out.number
    t.flags = (t.flags & <uint8_t>~TRACKED) | (out.flags & TRACKED)
    if t.state is not None and t.state.retains and t.node is not None:
        keep_retaining(t, True)
    return 0


cdef int set_item(Tensor t, object key, object value) except -1:
    """t[key] = value."""
    cdef Mode mode = current_mode()
    cdef Tensor old, out
    cdef list guards = []
    cdef bint tracks
    synchronise(t)
    if isinstance(value, Tensor):
        if (<Tensor>value).backend.adopts > t.backend.adopts:
            deepen(op_setitem, t, (<Tensor>value).backend, mode.grad and (<Tensor>value).flags & TRACKED)
        if (<Tensor>value).backend is not t.backend:
            value = adopted(op_setitem, t.backend, <Tensor>value)
        synchronise(<Tensor>value)
    elif not agrad_is_scalar(<PyObject*>value):
        value = special_methods["as_operand"](value, t)
    if type(key) is not int and backend_of_key(t.backend, key) is not t.backend:
        deepen(op_setitem, t, backend_of_key(t.backend, key), False)
        value = adopted(op_setitem, t.backend, <Tensor>value) if isinstance(value, Tensor) and (<Tensor>value).backend is not t.backend else value
    tracks = mode.grad and (t.flags & TRACKED or (isinstance(value, Tensor) and (<Tensor>value).flags & TRACKED))
    check_writable(t, mode, tracks, key is not Ellipsis)
    key = raw_key(t.backend, key, guards)
    raw_value = raw_operand(op_setitem, 2, t.backend, value)
    if not agrad_is_scalar(<PyObject*>raw_value):
        special_methods["check_cast"](wrap(t.backend, raw_value).dtype, t.dtype)
    if must_move(t, mode):
        move(t)
    old = wrap(t.backend, t.raw)
    old.node, old.number, old.flags = t.node, t.number, t.flags
    if t.view_ is None and t.backend.mutable:
        t.array         # a scalar that stands for a 0-d array becomes one; of a view, the base will
    if not in_memory(t):
        store(t, t.backend.xp.setitem(t.raw, key, raw_value), op_setitem)
    else:
        t.backend.set_item(t.raw, key, raw_value)
        wrote(t, op_setitem)
    if tracks:
        out = wrap(t.backend, t.raw)
        record_operands(op_setitem, rule_of(op_setitem, mode), (old, value), (old.raw, None, raw_value), (None, key, None), out, guards)
        rebase_history(t, out)
    elif mode.deriving:
        mark_written(t, value)
    if live_tracings:
        trace(op_setitem, (t, value), (t,))
    return 0


def increment_version(Tensor t not None):
    """Count a write that the engine could not see."""
    synchronise(t)
    wrote(t, op_copy)


def write_in_place(function not None, tuple targets not None, *args):
    """Let a function write into the memory of tensors: `function(*arrays of the targets, *args)`, where Tensors among `args` are given as arrays.

    Returns False, and does nothing, if a target is not in memory that can be written: arrays that are immutable, views of copies.
    Raises what any write does: for tracked tensors in grad mode, tensors of inference mode, views of expanded memory.
    """
    cdef Mode mode = current_mode()
    cdef Tensor t
    for t in targets:
        synchronise(t)
        check_writable(t, mode, mode.grad and t.flags & TRACKED)
        if mode.grad and t.flags & TRACKED:
            raise RuntimeError("write_in_place does not record: call it inside no_grad()")
        if t.backend.mutable and t.view_ is None:
            t.array         # a scalar that stands for a 0-d array becomes one
        if not in_memory(t):
            return False
        if t.backend.speed.writeable != NULL and not t.backend.speed.writeable(<PyObject*>t.raw):
            raise ValueError("the array of a tensor that is to be written is read-only: make a copy of it first")
    for t in targets:
        if must_move(t, mode):
            move(t)
    raws = [(<Tensor>t).raw for t in targets]
    for arg in args:
        if isinstance(arg, Tensor):
            synchronise(<Tensor>arg)
            arg = (<Tensor>arg).raw
        raws.append(arg)
    try:
        function(*raws)
    finally:
        for t in targets:       # also where the function failed: it may have written
            wrote(t, op_copy)
        if live_tracings:
            trace(op_copy, args, targets)
    return True
