# Hooks: on tensors, on nodes, on leaves after accumulation. What has none pays one test of a flag; the walk calls in here for the rest.

cdef object run_hooks(Backend backend, object hooks, object g):
    """Tensor hooks, in order of registration; each may replace the gradient."""
    cdef bint raw_world = not isinstance(g, Tensor)
    seen = wrap(backend, g) if raw_world else g
    for hook in tuple(hooks.values()):
        result = hook(seen)
        if result is not None:
            seen = checked_result(hook, seen, result)
    return (<Tensor>seen).raw if raw_world else seen


cdef object checked_result(object hook, object seen, object result):
    """What a hook gave back for a gradient: a Tensor like the one it was given."""
    cdef Tensor old, new
    if not isinstance(result, Tensor):
        raise TypeError(f"expected Variable, but hook returned '{type(result).__name__}'")
    if seen is None:
        raise RuntimeError("can't replace a None gradient with a non-None value")
    old, new = <Tensor>seen, <Tensor>result
    if old.backend.layered and old.backend.adopts > new.backend.adopts and base_of(old.backend) is base_of(new.backend):
        new = lifted(op_copy, old.backend, new)
    if new.backend is not old.backend:
        raise RuntimeError(f"hook '{name_of_hook(hook)}' has changed the backend of value (was {old.backend.name} got {new.backend.name})")
    if new.shape != old.shape:
        raise RuntimeError(f"hook '{name_of_hook(hook)}' has changed the size of value")
    if new.dtype != old.dtype:
        raise RuntimeError(f"hook '{name_of_hook(hook)}' has changed the type of value (was {old.dtype} got {new.dtype})")
    return new


cdef object name_of_hook(object hook):
    return getattr(hook, "__name__", type(hook).__name__)


# ---- of nodes

cdef object add_node_hook(Node node, object hook, bint before):
    """Register a prehook or posthook of a node."""
    cdef Details details
    check_callable(hook)
    details = details_of(node)
    node.flags |= WATCHED
    track_node(node)
    leaf = details.variable() if details.variable is not None else None
    if leaf is not None:
        (<Tensor>leaf).flags |= RICH
    if before:
        details.prehooks = HookTable() if details.prehooks is None else details.prehooks
        return Handle(details.prehooks, hook)
    details.posthooks = HookTable() if details.posthooks is None else details.posthooks
    return Handle(details.posthooks, hook)


cdef int check_callable(object hook) except -1:
    if not callable(hook):
        raise TypeError(f"a hook must be callable, got {type(hook).__name__}")
    return 0


cdef tuple hooked_values(object hooks, tuple values, tuple more):
    """Run a node's hooks on gradients; each may give a tuple to put in their place."""
    for hook in tuple(hooks.values()):
        result = hook(values, *more)
        if result is None:
            continue
        if type(result) is not tuple:
            raise TypeError(f"expected tuple, but hook returned '{type(result).__name__}'")
        if len(<tuple>result) != len(values):
            raise RuntimeError(f"hook '{name_of_hook(hook)}' has returned an incorrect number of values "
                               f"(got {len(<tuple>result)}, but expected {len(values)})")
        values = tuple([None if new is None else old if new is old else checked_result(hook, old, new)
                        for old, new in zip(values, <tuple>result)])
    return values


cdef object shown(Backend backend, object g):
    """A gradient as hooks see it."""
    return g if g is None or isinstance(g, Tensor) else wrap(backend, g)


cdef object unshown(object t, bint tensors):
    """And as the walk goes on with it."""
    return t if t is None or tensors else (<Tensor>t).raw


cdef int send_watched(Walk walk, Node node, Step* step, object g) except -1:
    """Run a node that has packed values or hooks."""
    packed = node.details.packed
    if packed is None:
        return send_hooked(walk, node, step, g)
    keep_unpacked(packed, True)
    try:
        return send_hooked(walk, node, step, g)
    finally:
        keep_unpacked(packed, False)


cdef int send_hooked(Walk walk, Node node, Step* step, object g) except -1:
    """Run a node between its hooks, if it has any."""
    cdef Details details = node.details
    cdef tuple outputs, inputs
    cdef bint several = details.several, tensors = walk.tensors
    if not details.prehooks and not details.posthooks:
        return walk.send_any(node, step, g, False)
    outputs = tuple([shown(node.backend, part) for part in ((None,) * details.n_outputs if g is None else g if several else (g,))])
    if details.prehooks:
        outputs = hooked_values(details.prehooks, outputs, ())
        g = tuple([unshown(part, tensors) for part in outputs])
        g = None if all([part is None for part in outputs]) else g if several else g[0]
    if not details.posthooks:
        return walk.send_any(node, step, g, False) if g is not None or node.flags & CUSTOM else 0
    inputs = hooked_values(details.posthooks, results_of(walk, node, step, g), (outputs,))
    return send_results(walk, node, step, inputs)


cdef tuple results_of(Walk walk, Node node, Step* step, object g):
    """What a node would send, one Tensor or None per operand: its edges lead to slots of their own meanwhile."""
    cdef int k, n = node.n_edges
    cdef bint owned = False
    cdef Slot* slots = walk.slots
    cdef Slot* caught
    cdef int32_t* edges = &walk.edges[step.first_edge]
    cdef int32_t* kept
    found = [None] * n
    if g is None and not node.flags & CUSTOM:
        return tuple(found)
    caught = <Slot*>PyMem_Malloc((n + 1) * sizeof(Slot))
    kept = <int32_t*>PyMem_Malloc((n + 1) * sizeof(int32_t))
    try:
        if caught == NULL or kept == NULL:
            raise MemoryError()
        memset(caught, 0, (n + 1) * sizeof(Slot))
        for k in range(n):
            kept[k] = edges[k]
            edges[k] = k if kept[k] >= 0 else -1
        walk.slots = caught
        try:
            walk.send_any(node, step, g, False)
            for k in range(n):
                if kept[k] < 0:
                    continue
                found[k] = shown(backend_of_edge(node, k), take(&caught[k], backend_of_edge(node, k), &owned))
        finally:
            walk.slots = slots
            for k in range(n):
                edges[k] = kept[k]
                drop(&caught[k])
    finally:
        PyMem_Free(caught)
        PyMem_Free(kept)
    return tuple(found)


cdef int send_results(Walk walk, Node node, Step* step, tuple results) except -1:
    """Add what hooks left of a node's results to the slots of its edges."""
    cdef int k, slot
    for k in range(node.n_edges):
        slot = walk.edges[step.first_edge + k]
        if slot >= 0 and results[k] is not None:
            add_to_slot(&walk.slots[slot], backend_of_edge(node, k), unshown(results[k], walk.tensors), False)
    return 0


# ---- of leaves

cdef object add_post_hook(Tensor t, object hook):
    """Register a hook that is called after accumulation."""
    synchronise(t)
    if not t.flags & TRACKED:
        raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
    if t.node is not None:
        raise RuntimeError("post accumulate grad hooks cannot be registered on non-leaf tensors")
    check_callable(hook)
    state = grad_state(t)
    if state.post_hooks is None:
        state.post_hooks = HookTable()
    t.flags |= RICH
    return Handle(state.post_hooks, hook)


cdef int store_watched(Tensor leaf, GradState state, object g, bint owned) except -1:
    """Add a gradient to `.grad` between the hooks of the AccumulateGrad node and those after accumulation."""
    cdef Details details = state.accumulator.details if state.accumulator is not None else None
    cdef tuple outputs
    if details is None or not (details.prehooks or details.posthooks):
        store_gradient(leaf, state, g, owned)
        return run_post_hooks(leaf, state.post_hooks)
    outputs = (shown(leaf.backend, g),)
    if details.prehooks:
        outputs = hooked_values(details.prehooks, outputs, ())
    if outputs[0] is not None:
        store_gradient(leaf, state, unshown(outputs[0], isinstance(g, Tensor)), False)
        run_post_hooks(leaf, state.post_hooks)
    if details.posthooks:
        hooked_values(details.posthooks, (), (outputs,))
    return 0


cdef int run_post_hooks(Tensor leaf, object hooks) except -1:
    for hook in tuple(hooks.values()) if hooks else ():
        result = hook(leaf)
        if isinstance(result, Tensor):
            raise RuntimeError("Tensor post accumulate grad hooks should return None.")
        if result is not None:
            raise TypeError(f"expected None, but hook returned '{type(result).__name__}'")
    return 0


# ---- of several tensors

def reaches(key):
    """Whether the walk under way sends a gradient to a tensor: `key` is a leaf, or the number of the node that made a result."""
    cdef Walk walk = current_mode().walk
    cdef int i, low, high
    cdef uint64_t sequence
    if walk is None:
        raise RuntimeError("there is no backward pass under way")
    if isinstance(key, Tensor):
        for i in range(walk.n_leaves):
            if walk.leaves[i].tensor == <PyObject*>key:
                return walk.leaves[i].wanted != 0
        return False
    sequence = key
    low, high = 0, walk.n_steps
    while low < high:       # the latest node comes first
        i = (low + high) // 2
        if walk.steps[i].sequence > sequence:
            low = i + 1
        else:
            high = i
    return low < walk.n_steps and walk.steps[low].sequence == sequence and (walk.steps[low].needed or walk.steps[low].captured)
