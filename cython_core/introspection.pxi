# What a node saved, as Python sees it: `node._saved_x1`, and `node._raw_saved_x1`, which takes hooks for one value.

cdef object find_saved_names = None     # installed: op -> {name: position of a parameter, or n_params for the result}
cdef dict saved_names_of = {}           # by op


def install_saved_names(finder):
    """Tell the engine under which names a node shows what it saved; called once by agrad.autograd.graph."""
    global find_saved_names
    find_saved_names = finder


cdef dict saved_names(Op op):
    names = saved_names_of.get(op)
    if names is None:
        names = saved_names_of[op] = find_saved_names(op)
    return names


cdef bint is_operand(Op op, int position):
    """Whether a position is that of an array parameter or of the result: what is saved only if a formula reads it."""
    return position == op.n_params or op.kinds[position] == ARRAY or op.kinds[position] == ARRAY_OR_NONE or op.kinds[position] == ARRAYS


cdef int saved_position(Node node, str name) except -2:
    """The position that a name stands for, -1 if the node saves nothing under it."""
    cdef Rule rule = node.rule
    if not rule.differentiable or node.flags & CUSTOM:
        return -1
    position = saved_names(rule.op).get(name)
    if position is None or is_operand(rule.op, position) and not rule.saves_any >> <int>position & 1:
        return -1
    return position


cdef object node_attribute(Node node, str name):
    """An attribute that is not a field: `_saved_NAME`, `_raw_saved_NAME`."""
    cdef int position = -1
    cdef bint raw = name.startswith("_raw_saved_")
    if raw or name.startswith("_saved_"):
        position = saved_position(node, name[11 if raw else 7:])
    if position < 0 or raw and not is_operand(node.rule.op, position):
        raise AttributeError(f"{name_of(node)!r} object has no attribute {name!r}")
    return new_saved_tensor(node, position) if raw else saved_for_user(node, position)


cdef object saved_for_user(Node node, int position):
    """A saved value; None for an operand that did not have to be saved."""
    cdef Op op = node.rule.op
    if not is_operand(op, position):
        return static_for_user(node.backend, unpacked_key((<tuple>node.args)[position] if node.args is not None else op.defaults[position]))
    return saved_value(node, position, True, None)


cdef object static_for_user(Backend backend, object value):
    """A static argument; index arrays become Tensors."""
    if type(value) is tuple:
        return tuple([static_for_user(backend, part) for part in <tuple>value])
    return wrap(backend, value) if is_array(backend, value) else value


cdef list attribute_names(Node node):
    """The names of what a node saved."""
    names = []
    if node.rule.differentiable and not node.flags & CUSTOM:
        for name, position in saved_names(node.rule.op).items():
            if saved_position(node, name) >= 0:
                names.append("_saved_" + name)
                if is_operand(node.rule.op, position):
                    names.append("_raw_saved_" + name)
    return names


@cython.final
cdef class SavedTensor:
    """One saved value of a node: `node._raw_saved_x1`."""
    cdef Node node
    cdef int position

    def __init__(self):
        raise TypeError("made by the engine")

    def register_hooks(self, pack_hook, unpack_hook):
        """Pack this value now, and unpack it when it is needed.

        Raises
        ------
        RuntimeError
            If there is no value, if it was freed, or if it is packed already.
        """
        cdef Saved part
        cdef SavedHooks hooks
        check_callable(pack_hook)
        check_callable(unpack_hook)
        raw = self.value()
        hooks = SavedHooks(pack_hook, unpack_hook)
        if type(raw) is not tuple:
            self.put((self.packed(hooks, raw, self.position == self.node.rule.op.n_params, rank_of(self.node.rule.op, self.position)),))
            return
        for i, part in enumerate(<tuple>raw):
            if not agrad_is_scalar(<PyObject*>part.raw):
                part.raw = self.packed(hooks, part.raw, self.position == self.node.rule.op.n_params, i)
                part.cell = None

    cdef Packed packed(self, SavedHooks hooks, object raw, bint is_output, int k):
        given = twin_of(self.node.backend, raw, None) if is_output else as_input(self.node, k, raw, None)
        packed = note_packed(self.node, pack_with(hooks, given))
        track_reachable(packed.value)       # the node is older than what was packed: it may lead back
        return packed

    cdef object value(self):
        """What the node keeps; an error where hooks cannot take it."""
        cdef Node node = self.node
        if node.flags & FREED and not node.saved_mask:
            raise RuntimeError("Calling register_hooks on a saved tensor after it has been freed. "
                               + SECOND_TIME[SECOND_TIME.index("Saved intermediate"):])
        if not node.saved_mask >> self.position & 1:
            raise RuntimeError("Calling register_hooks on a saved tensor with value None is forbidden")
        raw = saved_field(node, self.position)
        if agrad_is_scalar(<PyObject*>raw):
            raise RuntimeError("Calling register_hooks on a number is forbidden: it is saved as it is")
        if type(raw) is tuple and (type(raw[0]) is Packed or type((<Saved>raw[0]).raw) is Packed):
            raise RuntimeError("Calling register_hooks on a saved tensor whose hooks have already been set. Hint: only one pair of hooks is allowed "
                               "at a time.")
        saved_value(node, self.position, False, None)       # checks the version
        return raw

    cdef int put(self, object raw) except -1:
        """Keep something else in the place of the value."""
        cdef Node node = self.node
        cdef Saved overflow
        cdef int rank = saved_rank(node, self.position)
        if rank == 0:
            node.saved0, node.cell0 = raw, None
        elif rank == 1:
            node.saved1, node.cell1 = raw, None
        else:
            overflow = <Saved>node.details.saved[rank - 2]
            overflow.raw, overflow.cell = raw, None
        return 0


cdef SavedTensor new_saved_tensor(Node node, int position):
    cdef SavedTensor new = SavedTensor.__new__(SavedTensor)
    new.node, new.position = node, position
    return new


cdef object saved_field(Node node, int bit):
    """The raw value of a parameter (or of the result) as the node keeps it."""
    cdef int rank = saved_rank(node, bit)
    return node.saved0 if rank == 0 else node.saved1 if rank == 1 else (<Saved>node.details.saved[rank - 2]).raw


# ---- edges

@cython.final
cdef class EdgeToken:
    """What an edge remembers of the tensor it was made of: its shape, or, of a leaf, the leaf."""
    cdef Like like
    cdef Tensor leaf

    def __init__(self):
        raise TypeError("made by the engine")


def edge_of_tensor(Tensor t not None):
    """(node, output number, token) of a tracked tensor."""
    cdef EdgeToken token = EdgeToken.__new__(EdgeToken)
    synchronise(t)
    if t.node is None:
        token.leaf = t
        return accumulator_of(t), 0, token
    token.like = like_of(t.backend, t.raw)
    return t.node, t.number, token


def tensor_at_edge(Node node not None, int number, token=None):
    """A tensor that stands for an edge in a walk; of a leaf, the leaf. Where the shape is not known, it has no array."""
    cdef Tensor t
    cdef Like like
    if node.details is not None and node.details.variable is not None:
        leaf = node.details.variable()
        if leaf is None:
            raise RuntimeError("the leaf of this edge is gone; make edges with get_gradient_edge, which keeps it")
        return leaf
    if not 0 <= number < (1 if node.details is None else node.details.n_outputs):
        raise IndexError(f"{node.name()} has no output {number}")
    like = (<EdgeToken>token).like if type(token) is EdgeToken else None
    t = wrap(node.backend, None if like is None else like.zeros())
    t.node, t.number = node, number
    t.flags |= TRACKED
    return t
