# Functions that users write themselves, `autograd.Function`. The node of such a function is the `ctx` that its methods are given:
# what they need beyond a plain node is kept in a Context. The classes themselves stand in agrad/autograd/function.py.

@cython.final
cdef class Context:
    """What the node of a user's function has beyond others."""
    cdef object function        # the user's class
    cdef dict attributes        # what was set on ctx
    cdef list places            # by argument: number of its edge, -1 for what is no Tensor
    cdef list likes             # by edge: what its gradient has to look like
    cdef list outputs           # by output: Like, or None for what is no Tensor
    cdef list origins           # by saved value: its edge, ~number of its output, the Tensor itself where it is neither, or None
    cdef int recorded_runs      # walks with create_graph that run the function now

    def __init__(self):
        raise TypeError("made by the engine")


cdef object function_type = None        # agrad's Function, the base of users' classes
cdef object context_type = None         # the class whose methods and properties a ctx has
cdef object refuse_derivative = None    # (message, values, sources) -> the values, with a history that raises when it is walked
cdef object apply_inside = None         # (function, args, keywords, splits) -> output, for arguments inside transforms
cdef object NOT_THERE = object()
cdef object custom_rules = weakref.WeakKeyDictionary()      # user's class -> Rule


def install_functions(function, context, refuse, inside):
    """Tell the engine the base class of users' functions, what a ctx can do, how derivatives are refused, and who calls functions inside
    transforms; called once."""
    global function_type, context_type, refuse_derivative, apply_inside
    function_type, context_type, refuse_derivative, apply_inside = function, context, refuse, inside


cdef Rule custom_rule(object function):
    """The rule of a user's class: a name, and a joint formula that is never called."""
    cdef Op op
    rule = custom_rules.get(function)
    if rule is None:
        op = Op.__new__(Op)
        op.name, op.parameters, op.defaults, op.kinds, op.kernels, op.resolved = function.__name__, (), (), b"", [], True
        rule = Rule(op, "custom", (), joint=Formula(install_functions, f"{function.__name__}.backward", [], 0), source=function.__module__,
                    node_name=f"{function.__name__}Backward")
        custom_rules[function] = rule
    return <Rule>rule


# ---- ctx

cdef inline Context context_of(Node node):
    return <Context?>node.details.context


cdef object custom_attribute(Node node, str name):
    """An attribute of a ctx: the user's own, then the node's, then those of FunctionCtx."""
    cdef Context context = context_of(node)
    if name in context.attributes:
        value = context.attributes[name]
        return guarded(node, value, f"ctx.{name}") if context.recorded_runs else value
    try:
        return PyObject_GenericGetAttr(node, name)
    except AttributeError:
        pass
    found = getattr(context_type, name, NOT_THERE)
    if found is NOT_THERE:
        raise AttributeError(f"{name_of(node)!r} object has no attribute {name!r}")
    return found.__get__(node, context_type) if hasattr(found, "__get__") else found


cdef int set_custom_attribute(Node node, str name, object value) except -1:
    if not node.flags & CUSTOM:
        PyObject_GenericSetAttr(node, name, value)
    elif isinstance(getattr(context_type, name, None), property):
        raise AttributeError(f"attribute {name!r} of ctx cannot be set")
    else:
        context_of(node).attributes[name] = value
    return 0


cdef int delete_custom_attribute(Node node, str name) except -1:
    if not node.flags & CUSTOM or name not in context_of(node).attributes:
        raise AttributeError(f"{name_of(node)!r} object has no attribute {name!r} that can be deleted")
    del context_of(node).attributes[name]
    return 0


def is_custom(node):
    """Whether something is the ctx of a user's function."""
    return isinstance(node, Node) and ((<Node>node).flags & CUSTOM) != 0


def saved_tensors(Node node not None):
    """What a user's function saved, checked for writes; inputs and outputs with their history."""
    cdef Context context = context_of(node)
    cdef Saved saved
    cdef Tensor t
    cdef int i
    if node.flags & FREED:
        raise RuntimeError(freed_message(node))
    values = []
    for i in range(len(context.origins)):
        origin = context.origins[i]
        if origin is None:
            values.append(None)
            continue
        t = origin if isinstance(origin, Tensor) else None
        if type(node.details.saved[i]) is Packed:
            raw, cell = unpacked_of(<Packed>node.details.saved[i]).raw, None
        else:
            saved = <Saved>node.details.saved[i]
            source, number = (t.node, t.number) if t is not None else (
                (node, ~origin) if origin < 0 else (edge_of(node, origin), number_of(node, origin)))
            check_version(node, saved.cell, saved.version, saved.raw, source, number)
            raw, cell = saved.raw, saved.cell if saved.cell.version == saved.version else None
        if t is None:
            values.append(as_output(node, raw, cell, ~origin) if origin < 0 else restored_input(node, origin, raw, cell))
            continue
        if t.raw is not raw:        # the storage moved on and left this array behind, or hooks made a new one
            t = wrap(t.backend, raw)
            t.node, t.number, t.flags = (<Tensor>origin).node, (<Tensor>origin).number, (<Tensor>origin).flags
        values.append(guarded(node, t, f"ctx.saved_tensors[{i}]") if context.recorded_runs else t)
    return tuple(values)


cdef Tensor restored_input(Node node, int k, object raw, Cell cell):
    """A saved input; its array may be of another library than the results."""
    cdef Tensor t = as_input(node, k, raw, cell)
    if t.raw is raw:
        t.backend = (<Like>context_of(node).likes[k]).backend
    return t


def sources_of(Node node not None):
    """A Tensor in the place of each tracked input of a user's function: it has the input's history, not its value."""
    cdef Context context = context_of(node)
    cdef Like like
    cdef Tensor t
    cdef int k
    found = []
    for k in range(node.n_edges):
        edge = edge_of(node, k)
        if type(edge) is Node:
            like = <Like>context.likes[k]
            t = wrap(like.backend, like.backend.scalar(0, like.dtype, like.device))
            t.node, t.number = <Node>edge, number_of(node, k)
            t.flags |= TRACKED
            found.append(t)
        elif edge is not None:
            found.append(edge)
    return tuple(found)


# ---- values on ctx that the graph does not know
#
# Forward runs unrecorded. A value that it computes from tracked tensors and keeps on ctx has lost its derivative: harmless in a first
# walk, silently wrong in a second. While forward runs, results that depend on tracked tensors are marked DERIVED; a marked value that
# backward takes from ctx under create_graph gets a history that raises if a later walk goes through it.

cdef int mark_result(Op op, Mode mode, Tensor out, bint from_tracked) except -1:
    """What an unrecorded operation notes on its result in inference mode and inside a user's forward."""
    if mode.inference:
        out.flags |= INFERENCE
    if mode.deriving and from_tracked and out.backend.is_differentiable(out.raw) and has_derivative(op, out):
        out.flags |= DERIVED
    return 0


cdef bint has_derivative(Op op, Tensor out) except -1:
    """Whether results of an op vary with its operands in a way that a derivative could see."""
    if not op.resolved:
        resolve(op)
    rule = <Rule>op.rule_
    if op is number_ops["sign"]:        # flat, but for complex numbers
        return out.backend.is_complex(out.raw)
    return rule is None or (rule.differentiable and rule.family != "flat")


cdef inline bint may_derive(object operand):
    return isinstance(operand, Tensor) and (<Tensor>operand).flags & (TRACKED | DERIVED)


cdef int mark_written(Tensor t, object value) except -1:
    """A marked value was written into `t`."""
    if may_derive(value):
        t.flags |= DERIVED
        if t.view_ is not None:
            t.view_.base.flags |= DERIVED
    return 0


cdef bint is_lost(Tensor t) except -1:
    return t.node is None and not t.flags & TRACKED and t.backend.is_differentiable(t.raw) and (
        t.flags & DERIVED or (t.view_ is not None and t.view_.base.flags & DERIVED))


def is_derivative_lost(Tensor t not None):
    """Whether a tensor, or what is inside it, was computed in a user's forward from tensors whose derivative matters."""
    while not is_lost(t):
        if type(t.raw) is not Layered:
            return False
        t = (<Layered>t.raw).value
    return True


cdef object guarded(Node node, object value, str place, dict seen=None):
    """A value of ctx for a recorded backward; Tensors with a lost derivative are replaced, also in lists, tuples and dicts."""
    if isinstance(value, Tensor):
        return lost(node, <Tensor>value, place) if is_lost(<Tensor>value) else value
    kind = type(value)
    seen = {} if seen is None else seen
    if id(value) in seen:       # a container that contains itself
        return value
    seen[id(value)] = value
    if isinstance(value, (list, tuple)):
        parts = [guarded(node, part, f"{place}[{i}]", seen) for i, part in enumerate(value)]
        if all([new is old for new, old in zip(parts, value)]):
            return value
        return parts if kind is list else kind._make(parts) if hasattr(kind, "_make") else tuple(parts)
    if kind is dict:
        entries = {key: guarded(node, part, f"{place}[{key!r}]", seen) for key, part in value.items()}
        return entries if any([entries[key] is not part for key, part in value.items()]) else value
    if not isinstance(value, (type, types.ModuleType, types.FunctionType, Node)):
        inside = attribute_of(value, "__dict__")
        if type(inside) is dict:
            for key, part in inside.items():
                if isinstance(part, Tensor) and is_lost(<Tensor>part):
                    raise RuntimeError(lost_message(node, f"{place}.{key}"))
    return value


cdef bint keeps_tracked(Node node) except -1:
    """Whether a tracked tensor that is no input is kept on ctx, itself or in a container."""
    edges = [edge_of(node, k) for k in range(node.n_edges)]
    for value in context_of(node).attributes.values():
        for part in value.values() if type(value) is dict else value if type(value) in (list, tuple) else (value,):
            if isinstance(part, Tensor) and (<Tensor>part).flags & TRACKED and not is_among(
                    (<Tensor>part).node if (<Tensor>part).node is not None else part, edges):
                return True
    return False


cdef str lost_message(Node node, str place):
    return (f"{place} was computed in {node.rule.op.name}.forward from inputs that require grad, and is neither an input nor an output of the "
            f"function. forward is not recorded, so its derivative is unknown and differentiating {node.rule.op.name}.backward would give wrong "
            "numbers. Return it from forward as a further output and keep it with ctx.save_for_backward, or compute it again in backward from "
            "saved inputs; if it is meant as a constant, keep its detach().")


cdef Tensor lost(Node node, Tensor t, str place):
    """The same value with a history that leads to the function's inputs and raises when it is walked."""
    return <Tensor>refuse_derivative(lost_message(node, place), (t,), sources_of(node))[0]


# ---- forward

def apply_function(function, tuple args, dict keywords, bint splits):
    """Call a user's function. `splits`: ctx is given to `setup_context` instead of `forward`."""
    for value in args:
        if isinstance(value, Tensor) and (<Tensor>value).backend.layered:
            return apply_inside(function, args, keywords, splits)
    for value in keywords.values():
        if isinstance(value, Tensor) and (<Tensor>value).backend.layered:
            return apply_inside(function, args, keywords, splits)
    output, ctx, _ = run_forward(function, args, keywords, splits, False)
    context_of(<Node>ctx).attributes.pop("saved_for_forward", None)      # `saved_tensors` means these only in `jvp`
    return output


def run_forward(function, tuple args, dict keywords, bint splits, bint watches):
    """Run a user's forward and record it.

    `watches`: what is computed from arguments marked by `watched` is marked, too, even if nothing is recorded.

    Returns
    -------
    (output, ctx, to_save)
        `to_save`: what was given to `save_for_backward`.
    """
    cdef Mode mode = current_mode()
    cdef tuple given = args + tuple(keywords.values())
    cdef Node node = custom_node(function, given, mode)
    cdef bint tracks = node.n_edges > 0
    set_mode(mode.replace(grad=False, deriving=mode.deriving or tracks or watches))
    try:
        if splits:
            output = function.forward(*args, **keywords)
            function.setup_context(node, given, output)
        else:
            output = function.forward(node, *args, **keywords)
        results, to_save = finish(node, mode, given, output, tracks)
    finally:
        set_mode(mode)
    return results, node, to_save


def record_forward(function, tuple given, output, prepare):
    """Record results that were computed elsewhere as those of a user's function; `prepare(ctx)` sets up its ctx."""
    cdef Mode mode = current_mode()
    cdef Node node = custom_node(function, given, mode)
    if node.n_edges == 0:
        return output
    set_mode(mode.replace(grad=False, deriving=True))
    try:
        prepare(node)
        context_of(node).attributes.pop("saved_for_forward", None)
        return finish(node, mode, given, output, True)[0]
    finally:
        set_mode(mode)


def new_context(function, tuple given, dict attributes):
    """A ctx that is no part of the graph."""
    cdef Mode mode = current_mode()
    cdef Node node = custom_node(function, given, mode.replace(grad=False))
    context_of(node).attributes.update(attributes)
    return node


def context_attributes(Node node not None):
    """What was set on a ctx."""
    return context_of(node).attributes


def watched(Tensor t not None):
    """The same value, marked as one whose derivative matters although it is not tracked here."""
    cdef Tensor twin = alias(t)
    twin.flags |= DERIVED
    return twin


cdef tuple finish(Node node, Mode mode, tuple given, object output, bint tracks):
    """Give the results of a call their place in the graph, and save what is to be saved."""
    cdef Context context = context_of(node)
    several = isinstance(output, tuple)
    outputs = placed_outputs(node, mode, given, tuple(output) if several else (output,), tracks)
    to_save = context.attributes.pop("to_save", None)
    if tracks:
        save_values(node, given, outputs, to_save)
    if not several:
        return outputs[0], to_save
    return type(output)._make(outputs) if hasattr(type(output), "_make") else tuple(outputs), to_save


cdef Node custom_node(object function, tuple given, Mode mode):
    """The node of a call, with an edge per Tensor among the arguments; without edges where nothing is to be recorded."""
    cdef Node node
    cdef Context context = Context.__new__(Context)
    cdef Tensor t
    cdef list tensors = []
    cdef bint tracks = False
    cdef int depth = 0
    context.function, context.places, context.likes, context.origins = function, [], [], []
    needs = []
    for value in given:
        if isinstance(value, Tensor):
            t = <Tensor>value
            synchronise(t)
            depth = max(depth, t.backend.adopts)
            needs.append((t.flags & TRACKED) != 0)
            context.places.append(len(tensors))
            tensors.append(t)
        else:
            needs.append(False)
            context.places.append(-1)
    for t in tensors:
        tracks |= mode.grad and is_edge(t, depth)
    context.attributes = {"needs_input_grad": tuple(needs)}
    node = new_node(custom_rule(function), no_backend)
    node.flags |= CUSTOM
    track_node(node)
    details_of(node).context, node.details.several = context, True
    if tracks:
        set_edges(node, tensors, depth)
        context.likes = [like_of(t.backend, t.raw) for t in tensors]
        node.likes = tuple(context.likes)
        node.saved_mask = 1
    return node


cdef inline bint is_edge(Tensor t, int depth):
    """Whether a gradient goes to an argument: not to those of outer levels, which are constant at the level of the call."""
    return t.flags & TRACKED and (t.backend.adopts == depth or not t.backend.layered and depth < 2)


cdef int set_edges(Node node, list tensors, int depth) except -1:
    """An edge per Tensor, None for those that are not tracked."""
    cdef int i
    cdef Tensor t
    node.n_edges = len(tensors)
    if node.n_edges > 2:
        details_of(node).edges = [None] * node.n_edges
        node.details.numbers = [0] * node.n_edges
    for i in range(node.n_edges):
        t = <Tensor>tensors[i]
        if not is_edge(t, depth):
            continue
        if node.n_edges <= 2:
            set_edge(node, i, t)
        else:
            node.details.edges[i] = t.node if t.node is not None else t
            node.details.numbers[i] = t.number
    return 0


cdef bint is_among(object value, object others) except -1:
    for other in others:
        if other is value:
            return True
    return False


cdef list placed_outputs(Node node, Mode mode, tuple given, tuple returned, bint tracks):
    """The results of a call: Tensors get their place in the graph, all else passes through."""
    cdef Context context = context_of(node)
    cdef Tensor out
    cdef int i, n_tracked = 0
    dirty = taken(context, "dirty_tensors", "mark_dirty can only accept variables, but argument {} is of type {}")
    constant = taken(context, "non_differentiable", "mark_non_differentiable only accepts variable arguments, but got argument {} of type {}")
    check_dirty(node, dirty, given, returned)
    outputs = []
    context.outputs = []
    for i in range(len(returned)):
        if not isinstance(returned[i], Tensor):
            outputs.append(returned[i])
            context.outputs.append(None)
            continue
        out = <Tensor>returned[i]
        synchronise(out)
        is_input, is_dirty = is_among(out, given), is_among(out, dirty) and is_among(out, given)
        if tracks and out.backend.is_differentiable(out.raw) and not is_among(out, constant):
            out = tracked_output(node, out, i, is_input, is_dirty)
            n_tracked += 1
        else:
            out = untracked_output(mode, out, is_input, is_dirty, tracks)
        outputs.append(out)
        context.outputs.append(like_of(out.backend, out.raw))
    details_of(node).n_outputs = len(returned)
    for value in outputs:
        if tracks and isinstance(value, Tensor) and (<Tensor>value).node is node and (<Tensor>value).view_ is not None and \
                not is_among(value, dirty):
            note_own_history((<Tensor>value).view_, node, n_tracked)
    return outputs


cdef int note_own_history(View view, Node node, int n_tracked) except -1:
    """A view that a user's function returned has the function as its history, whatever the base's is now."""
    view.function = (node.rule.op.name, n_tracked > 1)
    view.base_node, view.base_tracked = view.base.node, (view.base.flags & TRACKED) != 0
    return 0


cdef tuple taken(Context context, str name, str text):
    """The tensors that ctx was told about under a name."""
    values = tuple(context.attributes.pop(name, None) or ())
    for i, value in enumerate(values):
        if not isinstance(value, Tensor):
            raise RuntimeError(text.format(i, type(value).__name__))
    return values


cdef int check_dirty(Node node, tuple dirty, tuple given, tuple returned) except -1:
    """Inputs that were written to: they are returned, and the write counts even if the engine did not see it."""
    for t in dirty:
        if not is_among(t, given):
            warnings.warn("ctx.mark_dirty() received a tensor that was not an input. Only input Tensors that have been mutated should be passed to "
                          "ctx.mark_dirty().", UserWarning, stacklevel=3)
        elif not is_among(t, returned):
            raise RuntimeError("Some elements marked as dirty during the forward method were not returned as output. The inputs that are modified "
                               "inplace must all be outputs of the Function.")
        else:
            synchronise(<Tensor>t)
            wrote(<Tensor>t, node.rule.op)
    return 0


cdef Tensor tracked_output(Node node, Tensor out, int number, bint is_input, bint is_dirty):
    """A result with the function as its history: the Tensor that forward returned, unless it is an input or has a history to keep."""
    cdef Tensor new
    if node.backend is no_backend:
        node.backend = out.backend
    elif node.backend is not out.backend:
        raise TypeError(f"{node.rule.op.name}: outputs on different backends, {node.backend.name} and {out.backend.name}; "
                        "return them from separate functions")
    if not is_dirty:
        if is_input or out.node is node or (out.flags & TRACKED and out.node is None):
            out = get_item(out, Ellipsis)
        adopt_history(out, as_output(node, out.raw, None, number))
        out.flags &= <uint8_t>~DERIVED
        return out
    if out.flags & TRACKED and out.node is None:
        raise RuntimeError("a leaf Variable that requires grad has been used in an in-place operation.")
    if out.view_ is not None and not out.view_.detached and out.view_.base.flags & TRACKED and out.view_.base.node is None:
        raise RuntimeError("a view of a leaf Variable that requires grad is being used in an in-place operation.")
    new = as_output(node, out.raw, None, number)
    set_mode((mode := current_mode()).replace(grad=True))
    try:
        check_writable(out, current_mode(), True)
        rebase_history(out, new)
    finally:
        set_mode(mode)
    return out


cdef Tensor untracked_output(Mode mode, Tensor out, bint is_input, bint is_dirty, bint tracks):
    """A result without history; an input that is returned as it is becomes a Tensor of its own on the same storage."""
    if is_dirty and not tracks:
        return out
    if is_input and not is_dirty:
        set_mode((inner := current_mode()).replace(grad=mode.grad and not tracks))
        try:
            return get_item(out, Ellipsis)
        finally:
            set_mode(inner)
    if tracks:
        out.flags &= <uint8_t>~DERIVED
    if out.flags & TRACKED:
        return out.detach()
    if out.view_ is not None and not tracks:
        out.view_.recording = mode.grad and not out.view_.detached
    return out


cdef int save_values(Node node, tuple given, list outputs, object values) except -1:
    """Keep what forward gave to save_for_backward, as of now."""
    cdef Context context = context_of(node)
    cdef Tensor t
    cdef Cell cell
    cdef SavedHooks hooks = acting_hooks() if live_saved_hooks else None
    if values is None:
        return 0
    node.details.saved = saved = []
    for i, value in enumerate(values):
        if value is None:
            saved.append(None)
            context.origins.append(None)
            continue
        if not isinstance(value, Tensor):
            raise TypeError(f"save_for_backward can only save variables, but argument {i} is of type {type(value).__name__}")
        t = <Tensor>value
        synchronise(t)
        if t.flags & INFERENCE:
            raise RuntimeError(INFERENCE_SAVED)
        origin = origin_of(node, context, t, given, outputs)
        context.origins.append(origin)
        cell = cell_of(t)
        if hooks is not None:
            saved.append(note_packed(node, pack_with(hooks, twin_of(t.backend, t.raw, cell) if type(origin) is int and <int>origin < 0 else t)))
            continue
        cell.saved_version = cell.version + 1
        saved.append(new_saved(t.raw, cell, cell.version))
    return 0


cdef object origin_of(Node node, Context context, Tensor t, tuple given, list outputs):
    """How a saved value comes back: as an output, through its edge as an input, or as the Tensor that it is."""
    cdef int i
    if t.node is node:
        return ~<int>t.number
    for i in range(len(outputs)):       # a view that was written to: its history is the base's
        if outputs[i] is t and t.flags & TRACKED:
            return ~i
    for i in range(len(given)):
        if given[i] is t:
            return context.places[i]
    return t


# ---- backward

cdef object custom_gradients(Node node, object gs):
    """Run a user's backward: a Tensor or None for each edge, in the shape and dtype of that input."""
    cdef Context context = context_of(node)
    cdef Like like
    cdef bint records = current_mode().grad
    cotangents = []
    for i, like in enumerate(context.outputs):
        g = gs[i] if gs is not None else None
        if g is not None and not isinstance(g, Tensor):
            g = wrap(like.backend, g)
        elif g is None and like is not None and context.attributes.get("materialize_grads", True):
            g = wrap(like.backend, like.backend.normalise(like.zeros()))
        cotangents.append(g)
    backward = backward_of(context.function)
    context.recorded_runs += records
    try:
        return fitted_gradients(node, context, backward(node, *cotangents))
    finally:
        context.recorded_runs -= records


cdef object backward_of(object function):
    """The user's backward, or vjp, which is another name of it."""
    if function.vjp is function_type.vjp:
        return function.backward
    if function.backward is not function_type.backward:
        raise RuntimeError("Implementing both 'backward' and 'vjp' for a custom Function is not allowed. You should only implement one of them.")
    return function.vjp


cdef list fitted_gradients(Node node, Context context, object results):
    """Check what a user's backward returned."""
    cdef int i, n = len(context.places)
    cdef str name = name_of(node)
    if not isinstance(results, tuple):
        results = (results,)
    if len(results) > n and all([r is None for r in results[n:]]):
        results = results[:n]
    if len(results) != n:
        raise RuntimeError(f"function {name} returned an incorrect number of gradients (expected {n}, got {len(results)})")
    fitted = [None] * node.n_edges
    for i in range(n):
        r = results[i]
        if context.places[i] < 0:
            if r is not None:
                raise RuntimeError(f"function {name} returned a gradient different than None at position {i + 1}, but the corresponding forward "
                                   "input was not a Variable")
        elif r is not None:
            if not isinstance(r, Tensor):
                raise RuntimeError(f"expected Variable or None (got {type(r).__name__})")
            if edge_of(node, context.places[i]) is not None:
                fitted[context.places[i]] = fit_custom(node, name, context.places[i], <Tensor>r, <Like>context.likes[context.places[i]])
    return fitted


cdef Tensor fit_custom(Node node, str name, int k, Tensor r, Like like):
    """A gradient in the shape and dtype of its input: broadcast axes are summed, the dtype is cast."""
    synchronise(r)
    if base_of(r.backend) is not base_of(like.backend):
        raise RuntimeError(f"Function {name} returned an invalid gradient at index {k} - on the backend {r.backend.name}, but the input is on "
                           f"{like.backend.name}")
    shape = shape_of(r.backend, r.raw)
    if not alike_as_far_as_known(shape, like.shape):
        if not can_broadcast(like.shape, shape):
            raise RuntimeError(f"Function {name} returned an invalid gradient at index {k} - got {list(shape)} but expected shape compatible with "
                               f"{list(like.shape)}")
        r = sum_to(node, 0, r, shape, like.shape, r.backend.facade)
    if r.backend.dtype_of(r.raw) != like.dtype:
        if r.backend.is_complex(r.raw) and not r.backend.is_complex_dtype(like.dtype):
            raise RuntimeError(f"Function {name} returned an invalid gradient at index {k} - got {r.dtype} but the input is real; "
                               "return its real part")
        r = cast_to(r.backend, r, r.raw, like, r.backend.facade)
    return r


cdef bint alike_as_far_as_known(tuple a, tuple b) except -1:
    """Whether two shapes are equal where both lengths are known."""
    cdef Py_ssize_t i
    if len(a) != len(b):
        return False
    for i in range(len(a)):
        if isinstance(a[i], int) and isinstance(b[i], int) and a[i] != b[i]:
            return False
    return True
