# Hooks' handles, and what upper layers put into tensors.

cdef object handle_numbers = itertools.count()


class HookTable(dict):
    """Hooks by the number of their handle; handles refer to it weakly, so that hooks die with the graph."""
    __slots__ = ("__weakref__",)


cdef class Handle:
    """Removes a hook; `with handle:` removes it at the end."""
    cdef object table
    cdef object number

    def __init__(self, hooks, hook):
        self.table, self.number = weakref.ref(hooks), next(handle_numbers)
        hooks[self.number] = hook
        track_reachable(hook)

    def remove(self):
        """Remove the hook; twice is fine."""
        hooks = self.table()
        if hooks is not None:
            hooks.pop(self.number, None)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.remove()


def install_methods(table):
    """Put methods into Tensor, once: the only upward path.

    Parameters
    ----------
    table : dict of str to object
        Functions, builtins, properties and other descriptors by name. The special methods that Tensor leaves open
        (`__repr__`, `__bool__`, ...) are kept for its slots.
    """
    methods = <object>agrad_type_dict(Tensor)
    for name, value in table.items():
        if name in OPEN_SLOTS:
            special_methods[name] = value
        else:
            methods[name] = PyInstanceMethod_New(value) if isinstance(value, types.BuiltinFunctionType) else value
    PyType_Modified(Tensor)


cdef object OPEN_SLOTS = frozenset((
    "backend_of", "adopt", "dtype_of", "check_cast", "as_operand", "__init__", "__iter__", "__contains__", "__bool__", "__int__", "__float__",
    "__complex__", "__index__", "__repr__", "__format__", "__reduce_ex__",
))


def bind_operators(dict ops):
    """Tell the operator slots and the engine which ops they run; called once with all ops of the standard by name."""
    global op_add, op_subtract, op_multiply, op_divide, op_negative, op_matmul, op_power
    global op_getitem, op_setitem, op_write_view, op_scatter, op_copy
    op_add, op_subtract, op_multiply, op_divide = ops["add"], ops["subtract"], ops["multiply"], ops["divide"]
    op_negative, op_matmul, op_power = ops["negative"], ops["matmul"], ops["pow"]
    op_getitem, op_setitem, op_copy = ops["getitem"], ops["setitem"], ops["copy"]
    op_write_view, op_scatter = ops["write_view"], ops["scatter"]
    number_ops.update(ops)


def ones_like(Tensor t not None):
    """Untracked ones in the shape, dtype and place of a tensor: the cotangent of a scalar."""
    synchronise(t)
    like = like_of(t.backend, t.raw)
    return wrap(t.backend, like.full(1) if like.shape else t.backend.scalar(1, like.dtype, like.device))


def zeros_like(Tensor t not None):
    """Untracked zeros in the shape, dtype and place of a tensor."""
    synchronise(t)
    return wrap(t.backend, t.backend.normalise(like_of(t.backend, t.raw).zeros()))
