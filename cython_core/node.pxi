# What a recorded operation is to Python: `grad_fn`.

cdef enum:      # Node.flags
    FREED = 1           # saved values are gone
    NODE_RICH = 2       # may be part of a reference cycle: stays with the garbage collector
    HOOKED = 4          # has tensor hooks or retained gradients
    ALL_TRACKED = 16    # the garbage collector has it and all nodes under it
    WATCHED = 32        # has hooks of its own, or packed saved values: see hooks.pxi
    CUSTOM = 64         # of a user's function: see custom.pxi

cdef uint64_t sequence_counter = 0


def last_sequence_nr():
    """The number of the node that was made last."""
    return sequence_counter


cdef int live_anomalies = 0     # anomaly modes that some Mode may hold: while there are none, recording asks for no Mode

cdef str SECOND_TIME = (
    "Trying to backward through the graph a second time (or directly access saved tensors after they have already been freed). Saved intermediate "
    "values of the graph are freed when you call .backward() or autograd.grad(). Specify retain_graph=True if you need to backward through the graph "
    "a second time or if you need to access saved tensors after calling backward.")


cdef str INFERENCE_SAVED = (
    "Inference tensors cannot be saved for backward. Please do not use Tensors created in inference mode in computation tracked by "
    "autograd. To work around this, you can make a clone to get a normal tensor and use it in autograd, or use `agrad.no_grad()` "
    "instead of `agrad.inference_mode()`.")


cdef inline Node new_node(Rule rule, Backend backend):
    global sequence_counter
    cdef Node node = Node.__new__(Node)
    PyObject_GC_UnTrack(<PyObject*>node)    # plain nodes cannot be part of a cycle; see track_node
    sequence_counter += 1
    node.rule = rule
    node.backend = backend
    node.sequence = sequence_counter
    if live_anomalies:
        note_origin(node)
    return node


cdef inline void track_node(Node node) noexcept:
    """Give a node back to the garbage collector: something it holds may now lead back to it."""
    if not node.flags & NODE_RICH:
        node.flags |= NODE_RICH
        PyObject_GC_Track(<PyObject*>node)


cdef Details details_of(Node node):
    if node.details is None:
        node.details = Details.__new__(Details)
        node.details.n_outputs = 1
    return node.details


cdef object hooks_of(Node node, int number):
    """The tensor hooks of one output, made if there are none."""
    details = details_of(node)
    if details.hooks is None:
        details.hooks = {}
    node.flags |= HOOKED
    track_node(node)
    return details.hooks.setdefault(number, HookTable())


cdef int keep_retaining(Tensor t, bint retains) except -1:
    """Let the node that now makes `t` fill its `.grad`."""
    cdef Details details
    state = grad_state(t)
    state.retains = retains
    if retains:
        details = details_of(t.node)
        if details.retained is None:
            details.retained = {}
        details.retained[t.number] = state
        t.node.flags |= HOOKED
    return 0


cdef int stop_retaining(Tensor t) except -1:
    """The node that made `t` so far no longer fills its `.grad`: `t` gets another history."""
    if t.node is not None and t.node.details is not None and t.node.details.retained is not None:
        t.node.details.retained.pop(t.number, None)
    return 0


cdef inline int saved_rank(Node node, int bit) noexcept:
    """Which of the saved values that of a parameter (or of the result) is."""
    cdef uint32_t below = node.saved_mask & ((<uint32_t>1 << <uint32_t>bit) - 1)
    cdef int rank = 0
    while below:
        rank += 1
        below &= below - 1
    return rank


cdef inline object edge_of(Node node, int i):
    if i == 0 and node.n_edges <= 2:
        return node.edge0
    if i == 1 and node.n_edges <= 2:
        return node.edge1
    return node.details.edges[i]


cdef inline int number_of(Node node, int i):
    if i == 0 and node.n_edges <= 2:
        return node.number0
    if i == 1 and node.n_edges <= 2:
        return node.number1
    return node.details.numbers[i]


cdef int track_graph(Tensor t) except -1:
    """Give every node under a tensor back to the garbage collector."""
    cdef Node node
    cdef int i
    stack = [t.node]
    while stack:
        node = <Node>stack.pop()
        if node is None or node.flags & ALL_TRACKED:
            continue
        track_node(node)
        node.flags |= ALL_TRACKED
        for i in range(node.n_edges):
            edge = edge_of(node, i)
            if type(edge) is Node:
                stack.append(edge)
    return 0


cdef int track_reachable(object value) except -1:
    """Track the graphs of the tensors that a new hook or attribute leads to: it may close a cycle through them.

    Looks into containers, closures, bound methods and instances, at no more than some thousand objects.
    """
    seen, stack = {}, [value]
    while stack and len(seen) < 4096:
        found = stack.pop()
        if id(found) in seen or found is None:
            continue
        seen[id(found)] = found
        if isinstance(found, Tensor):
            track_graph(<Tensor>found)
        elif isinstance(found, (list, tuple, set, frozenset)):
            stack.extend(found)
        elif isinstance(found, dict):
            stack.extend(found.values())
        elif isinstance(found, types.FunctionType):
            stack.extend([cell.cell_contents for cell in found.__closure__ or () if cell != EMPTY_CELL])
            stack.extend(found.__defaults__ or ())
            stack.append(found.__kwdefaults__)
        elif not isinstance(found, (type, types.ModuleType, types.BuiltinFunctionType)):
            stack.extend([attribute_of(found, name) for name in ("__self__", "__func__", "__dict__")])
            if isinstance(found, functools.partial):
                stack.append(found.args)
                stack.append(found.keywords)
    return 0


cdef object attribute_of(object found, str name):
    try:
        return getattr(found, name, None)
    except Exception:       # a user's __getattr__ may raise anything
        return None


cdef object EMPTY_CELL = types.CellType()


@cython.final
@cython.no_gc_clear
cdef class Saved:
    def __init__(self):
        raise TypeError("made by the engine")


@cython.final
cdef class Details:
    def __init__(self):
        raise TypeError("made by the engine")


cdef inline Py_ssize_t times_in(list edges, Py_ssize_t i):
    cdef Py_ssize_t k, n = 0
    for k in range(len(edges)):
        n += PyList_GET_ITEM(edges, k) == PyList_GET_ITEM(edges, i)
    return n


cdef inline Node take_child(Node node):
    """Take the node below out of a node that is being freed, if nobody else holds it."""
    cdef Node child = None
    cdef list edges
    cdef Py_ssize_t i, held
    if node.details is not None and node.details.edges is not None:
        edges = node.details.edges
        for i in range(min(len(edges), 8)):
            held = Py_REFCNT(PyList_GET_ITEM(edges, i))
            if held <= 8 and type(edges[i]) is Node and times_in(edges, i) == held:      # stack([y, y, y]) holds one node three times
                child = <Node>edges[i]
                node.details.edges = [edge for edge in edges if edge is not child]
                return child
        return None
    if node.edge0 is node.edge1:
        node.edge1 = None
    if type(node.edge0) is Node and Py_REFCNT(<PyObject*>node.edge0) == 1:
        child, node.edge0 = <Node>node.edge0, None
    elif type(node.edge1) is Node and Py_REFCNT(<PyObject*>node.edge1) == 1:
        child, node.edge1 = <Node>node.edge1, None
    return child


@cython.final
@cython.freelist(64)
@cython.trashcan(True)      # what branches is freed with bounded recursion
cdef class Node:
    """One recorded operation: what `grad_fn` returns."""

    def __dealloc__(self):
        cdef Node below = take_child(self)      # a chain of a million nodes is freed one by one, on a stack of any size
        while below is not None:
            below = take_child(below)

    def __init__(self):
        raise TypeError("nodes are made by the engine when an operation is recorded")

    def __getattribute__(self, name):
        return custom_attribute(self, name) if self.flags & CUSTOM else PyObject_GenericGetAttr(self, name)

    def __setattr__(self, name, value):
        set_custom_attribute(self, name, value)

    def __delattr__(self, name):
        delete_custom_attribute(self, name)

    def name(self):
        """The node's name, PyTorch's where it has one."""
        return name_of(self)

    def _arguments(self):
        """The arguments by position; of arrays, their shape and dtype where the node knows them, else None."""
        cdef int i
        cdef Op op = self.rule.op
        given = self.args if self.args is not None else op.defaults
        given = tuple([(<PackedKey>value).key if type(value) is PackedKey else value for value in given])
        if op.n_arrays < 0:
            return given
        likes = []
        for i in range(op.n_params):
            if op.kinds[i] != ARRAY and op.kinds[i] != ARRAY_OR_NONE:
                likes.append(given[i])
                continue
            like = like_of_edge(self, rank_of(op, i))
            if like is None and self.saved_mask >> i & 1:
                raw = saved_value(self, i, False, None)
                like = None if agrad_is_scalar(<PyObject*>raw) else like_of(self.backend, raw)
            likes.append(like)
        return tuple(likes)

    def _scalars(self):
        """For each parameter, whether a Python scalar was given."""
        mask = self.details.scalar_mask if self.details is not None else 0
        return tuple([bool(mask >> i & 1) for i in range(self.rule.op.n_params)])

    @property
    def next_functions(self):
        """Pairs (node, output number), one per array input; (None, 0) where no gradient is needed."""
        cdef int i
        pairs = []
        for i in range(self.n_edges):
            edge = edge_of(self, i)
            pairs.append((accumulator_of(<Tensor>edge), 0) if isinstance(edge, Tensor) else (edge, number_of(self, i) if edge is not None else 0))
        return tuple(pairs)

    @property
    def metadata(self):
        """A dictionary for the user."""
        details = details_of(self)
        if details.metadata is None:
            details.metadata = {}
            track_node(self)
        return details.metadata

    def register_prehook(self, hook):
        """Call `hook(grad_outputs)` before the node runs; a tuple of the same length, if returned, replaces them.

        Returns
        -------
        handle
            With `remove()`; also a context manager.
        """
        return add_node_hook(self, hook, True)

    def register_hook(self, hook):
        """Call `hook(grad_inputs, grad_outputs)` after the node ran; a tuple of the same length, if returned, replaces `grad_inputs`.

        Returns
        -------
        handle
            With `remove()`; also a context manager.
        """
        return add_node_hook(self, hook, False)

    @property
    def requires_grad(self):
        """Always True."""
        return True

    @property
    def variable(self):
        """The leaf of an AccumulateGrad node."""
        if self.details is None or self.details.variable is None:
            raise AttributeError(f"{name_of(self)} has no attribute 'variable'")
        return self.details.variable()

    def __getattr__(self, name):
        return node_attribute(self, name)

    def __dir__(self):
        return [*object.__dir__(self), *attribute_names(self)]

    def _sequence_nr(self):
        """Position in the order of creation."""
        return self.sequence

    def __repr__(self):
        return f"<{name_of(self)} object at {id(self):#x}>"

    def __reduce_ex__(self, protocol):
        raise TypeError("graph nodes cannot be pickled or copied: save the tensor's values instead")


cdef object name_of(Node node):
    name = node.rule.node_name
    return name(node._arguments(), node._scalars()) if callable(name) else name


cdef Rule accumulate_rule = None


cdef Node accumulator_of(Tensor leaf):
    """The AccumulateGrad node of a leaf; made when somebody looks at it."""
    global accumulate_rule
    cdef GradState state = grad_state(leaf)
    if accumulate_rule is None:
        accumulate_rule = Rule(op_copy, "leaf", (), node_name="agrad::autograd::AccumulateGrad")
    if state.accumulator is None:
        state.accumulator = new_node(accumulate_rule, leaf.backend)
        details_of(state.accumulator).variable = weakref.ref(leaf)
    return state.accumulator
