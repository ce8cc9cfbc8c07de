# The tensor as Python sees it: attributes, slots. What they do stands in the files after this one.

cdef enum:      # Tensor.flags
    TRACKED = 1         # requires_grad
    RICH = 2            # may be part of a reference cycle: nodes that hold it stay with the garbage collector
    INFERENCE = 4       # made in inference mode
    DERIVED = 64        # computed in a user's forward from tracked tensors, unrecorded
    SNAPSHOT = 16       # detached inside a transform: a value of its own, not to be written
    PINNED = 8          # holds what was saved: shares a cell to be checked, but is never brought up to date

cdef dict special_methods = {}      # installed by upper layers: __repr__, __format__, ...
cdef dict number_ops = {}           # slot name -> Op, filled by bind_operators
cdef Op op_add = None, op_subtract = None, op_multiply = None, op_divide = None, op_negative = None, op_matmul = None, op_power = None
cdef Op op_getitem = None, op_setitem = None, op_write_view = None, op_scatter = None, op_copy = None


def make_tensor(Backend backend not None, raw, *, bint requires_grad=False, type cls=Tensor):
    """A Tensor around a raw array of a backend, sharing its memory."""
    cdef Tensor t = cls.__new__(cls)
    t.raw = raw
    t.backend = backend
    if current_mode().inference:
        t.flags |= INFERENCE
    if requires_grad:
        if not backend.is_differentiable(raw):
            raise RuntimeError("Only Tensors of floating point and complex dtype can require gradients")
        set_requires_grad(t, True)
    return t


cdef int set_requires_grad(Tensor t, bint value) except -1:
    if value and not t.backend.is_differentiable(t.raw):
        raise RuntimeError("only Tensors of floating point and complex dtype can require gradients")
    if t.node is not None:
        if value:
            raise RuntimeError("you can only change requires_grad flags of leaf variables.")
        raise RuntimeError(
            "you can only change requires_grad flags of leaf variables. If you want to use a computed variable in a subgraph that "
            "doesn't require differentiation use var_no_grad = var.detach().")
    if value and t.flags & INFERENCE and not current_mode().inference:
        raise RuntimeError("Setting requires_grad=True on inference tensor outside InferenceMode is not allowed.")
    if value:
        grad_state(t)
        t.flags |= TRACKED
        if t.view_ is not None or has_own_attributes(t):
            t.flags |= RICH
    else:
        t.flags &= <uint8_t>~TRACKED
    return 0


cdef bint has_own_attributes(Tensor t):
    """Whether something may be attached to a tensor already, or attached unseen: those of subclasses have attributes."""
    return type(t) is not Tensor and (type(t).__setattr__ is not Tensor.__setattr__ or bool(getattr(t, "__dict__", None)))


@cython.freelist(64)
cdef class Tensor:
    """An array of any backend that may record what is done with it.

    Tensors are made by `agrad.tensor`, `agrad.asarray` and the creation functions; operations on them follow the Array API standard,
    automatic differentiation follows PyTorch.

    Examples
    --------
    >>> import agrad
    >>> x = agrad.tensor([1.0, 2.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad
    tensor([2., 4.])
    """

    def __hash__(self):
        return <Py_hash_t><size_t><void*>self

    def __cinit__(self):        # without parameters: they would cost a dict per tensor
        self.backend = no_backend

    def __init__(self, *args, **kwargs):
        if self.backend is no_backend:
            special_methods["__init__"](self, *args, **kwargs)

    def _adopt(self, Tensor source not None):
        """Become another name of an untracked tensor's storage; for the constructors of subclasses."""
        synchronise(source)
        self.raw, self.backend = source.raw, source.backend
        self.cell, self.seen = cell_of(source), source.seen
        self.flags = source.flags & INFERENCE
        if source.view_ is not None:
            self.view_ = source.view_ if source.view_.detached else untracked_view(source.view_)

    # ---- the array

    @property
    def array(self):
        """The backend's own array; writing to it is not noticed by the graph."""
        cdef Cell cell
        synchronise(self)
        cell = self.cell
        raw = self.backend.as_array(self.raw)
        # of a view that is a scalar the reader gets a copy; writes go through the base
        if raw is self.raw or not self.backend.mutable or self.view_ is not None:
            return raw
        if cell is not None:
            if type(cell.array) is not self.backend.array_type:
                cell.array = raw
            raw = cell.array        # a twin made it before
        self.raw = raw
        return raw

    @property
    def backend_(self):
        """The adapter of this tensor's backend."""
        return self.backend

    @property
    def shape(self):
        """Length of each axis."""
        synchronise(self)
        return shape_of(self.backend, self.raw)

    @property
    def ndim(self):
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self):
        """Number of elements (the standard's attribute; PyTorch's method of that name is `shape`)."""
        n = 1
        for length in self.shape:
            n *= length
        return n

    @property
    def dtype(self):
        """The neutral dtype."""
        return self.backend.neutral_dtype(self.raw)

    @property
    def device(self):
        """The device, in the backend's words."""
        return self.backend.device_of(self.raw)

    # ---- differentiation

    @property
    def requires_grad(self):
        """Whether operations on this tensor are recorded.

        Raises
        ------
        RuntimeError
            When set on a tensor that is not a leaf, or whose dtype is neither floating nor complex, or to something that is no bool.
        """
        synchronise(self)
        return (self.flags & TRACKED) != 0

    @requires_grad.setter
    def requires_grad(self, value):
        if not isinstance(value, bool):
            raise RuntimeError("requires_grad must be a bool")
        synchronise(self)
        if value or self.flags & TRACKED:
            set_requires_grad(self, value)

    def requires_grad_(self, requires_grad=True):
        """Set `requires_grad` in place and return the tensor; True on a result that is tracked anyway changes nothing."""
        if not isinstance(requires_grad, bool):
            raise TypeError(f"requires_grad_(): argument 'requires_grad' must be bool, not {type(requires_grad).__name__}")
        synchronise(self)
        if self.node is None or not requires_grad:
            if requires_grad or self.flags & TRACKED:
                set_requires_grad(self, requires_grad)
        return self

    @property
    def is_leaf(self):
        """Whether the tensor was made by the user, or is not tracked."""
        synchronise(self)
        return self.node is None

    @property
    def grad_fn(self):
        """The node that made this tensor; None for leaves."""
        synchronise(self)
        return self.node

    @property
    def output_nr(self):
        """Which output of its node the tensor is."""
        synchronise(self)
        return self.number

    @property
    def _version(self):
        """Number of in-place writes so far, shared by all tensors on the same storage."""
        if self.flags & INFERENCE:
            raise RuntimeError("Inference tensors do not track version counter.")
        return self.cell.version if self.cell is not None else 0

    @property
    def retains_grad(self):
        """Whether a result keeps its gradient."""
        return self.state is not None and self.state.retains

    def is_inference(self):
        """Whether the tensor was made in inference mode."""
        return (self.flags & INFERENCE) != 0

    @property
    def grad(self):
        """The accumulated gradient, a Tensor, or None.

        Raises
        ------
        TypeError, RuntimeError
            When set to something that is not a Tensor of the same shape and dtype.
        """
        if self.state is not None and (self.state.grad is not None or self.state.retains):
            return self.state.grad
        if self.node is not None:
            warnings.warn(
                "The .grad attribute of a Tensor that is not a leaf Tensor is being accessed. Its .grad attribute won't be populated during "
                "autograd.backward(). If you indeed want the .grad field to be populated for a non-leaf Tensor, use .retain_grad() on the "
                "non-leaf Tensor. If you access the non-leaf Tensor by mistake, make sure you access the leaf Tensor instead.",
                UserWarning, stacklevel=2)
        return None

    @grad.setter
    def grad(self, value):
        cdef Tensor new
        if value is None:
            if self.state is not None:
                self.state.grad = None
            return
        if not isinstance(value, Tensor):
            raise TypeError(f"assigned grad expected to be a Tensor or None but got grad of type {type(value).__name__}")
        new = <Tensor>value
        if new is self:
            raise RuntimeError("can't assign Variable as its own grad")
        if new.backend is not self.backend:
            raise RuntimeError(f"assigned grad lives on backend {new.backend.name}, the tensor on {self.backend.name}")
        if new.shape != self.shape:
            raise RuntimeError(
                f"attempting to assign a gradient of size '{list(new.shape)}' to a tensor of size '{list(self.shape)}'. "
                "Please ensure that the gradient and the tensor are the same size")
        if new.dtype != self.dtype:
            raise RuntimeError(f"attempting to assign a gradient with dtype '{new.dtype}' to a tensor with dtype '{self.dtype}'. "
                               "Please ensure that the gradient and the tensor have the same dtype")
        if new.flags & TRACKED:
            self.flags |= RICH
            track_graph(new)
        grad_state(self).grad = new

    @grad.deleter
    def grad(self):
        if self.state is not None:
            self.state.grad = None

    @property
    def grad_dtype(self):
        """The dtype that `.grad` of a leaf will have; that of the leaf unless set.

        Raises
        ------
        RuntimeError
            For results of operations.
        """
        if self.node is not None:
            raise RuntimeError("grad_dtype can only be accessed on leaf tensors.")
        if self.state is None or self.state.dtype is None:
            return self.dtype
        return special_methods["dtype_of"](self.state.dtype)

    @grad_dtype.setter
    def grad_dtype(self, value):
        if self.node is not None:
            raise RuntimeError("grad_dtype can only be accessed on leaf tensors.")
        grad_state(self).dtype = None if value is None else self.backend.to_dtype(value)

    @property
    def _backward_hooks(self):
        """The tensor hooks of a leaf, None if there never was one."""
        return self.state.hooks if self.state is not None else None

    def retain_grad(self):
        """Keep the gradient of a result in `.grad`; a no-op on leaves.

        Raises
        ------
        RuntimeError
            If the tensor does not require grad.
        """
        synchronise(self)
        if not self.flags & TRACKED:
            raise RuntimeError("can't retain_grad on Tensor that has requires_grad=False")
        if self.node is not None:
            keep_retaining(self, True)

    def register_hook(self, hook):
        """Call `hook(gradient)` when the gradient of this tensor is complete; what it returns, unless None, replaces the gradient.

        Returns
        -------
        handle
            With `remove()`; also a context manager.

        Raises
        ------
        RuntimeError
            If the tensor does not require grad.
        """
        synchronise(self)
        if not self.flags & TRACKED:
            raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
        check_callable(hook)
        if self.node is None:
            if grad_state(self).hooks is None:
                self.state.hooks = HookTable()
            hooks = self.state.hooks
        else:
            hooks = hooks_of(self.node, self.number)
        self.flags |= RICH
        return Handle(hooks, hook)

    def register_post_accumulate_grad_hook(self, hook):
        """Call `hook(tensor)` after a gradient was added to this leaf's `.grad`.

        Returns
        -------
        handle
            With `remove()`; also a context manager.

        Raises
        ------
        RuntimeError
            If the tensor does not require grad or is no leaf.
        """
        return add_post_hook(self, hook)

    def detach(self):
        """An untracked tensor on the same storage; writes to it are seen, and checked, by both."""
        cdef Tensor twin
        synchronise(self)
        if self.backend.layered:
            twin = wrap(self.backend, detached_raw(self.raw))
            twin.flags = SNAPSHOT
            return twin
        twin = wrap(self.backend, self.raw)
        twin.cell = cell_of(self)
        twin.seen = self.seen
        twin.flags = self.flags & INFERENCE
        if self.view_ is not None:
            twin.view_ = untracked_view(self.view_)
        if live_tracings:
            trace("detach", (self,), (twin,))
        return twin

    def detach_(self):
        """Make this tensor a leaf that does not require grad, in place.

        Raises
        ------
        RuntimeError
            For views.
        """
        if self.view_ is not None:
            raise RuntimeError("Can't detach views in-place. Use detach() instead. If you are using DistributedDataParallel (DDP) for training, "
                               "and gradient_as_bucket_view is set as True, gradients are views of DDP buckets, and hence detach_() cannot be "
                               "called on these gradients.")
        stop_retaining(self)
        self.raw = detached_raw(self.raw)
        self.node, self.number = None, 0
        self.flags &= <uint8_t>~TRACKED
        if self.state is not None:
            self.state.retains = False
        return self

    @property
    def data(self):
        """An untracked tensor on the same memory with a version of its own: writes to it are not noticed. Prefer `detach`.

        May be set to a tensor of another shape.
        """
        cdef Tensor twin
        synchronise(self)
        if self.backend.layered:
            return self.detach()
        if not self.backend.mutable or type(self.raw) is not self.backend.array_type:
            twin = self.detach()        # no memory to share: only the cell carries a write over
            if self.backend.mutable and self.view_ is None:
                self.array              # from now on there is
                twin = wrap(self.backend, self.raw)
            return twin
        twin = wrap(self.backend, self.raw)
        if live_tracings:
            trace("data", (self,), (twin,))
        return twin

    @data.setter
    def data(self, value):
        cdef Tensor new
        if not isinstance(value, Tensor):
            raise TypeError(f"data must be set to a Tensor, got {type(value).__name__}")
        new = <Tensor>value
        synchronise(new)
        if new.backend is not self.backend:
            raise RuntimeError(f"data lives on backend {new.backend.name}, the tensor on {self.backend.name}: use to(backend=) first")
        if self.flags & TRACKED and not self.backend.is_differentiable(new.raw):
            raise RuntimeError("data set to a tensor that requires gradients must be floating point or complex dtype")
        self.raw = new.raw
        if self.cell is not None:
            self.cell = None
            self.seen = 0
        self.view_ = None

    @property
    def _base(self):
        """The tensor that owns the storage of this view; None for others."""
        return self.view_.base if self.view_ is not None and not self.view_.detached else None

    def __setattr__(self, name, value):
        if not hasattr(Tensor, name):
            self.flags |= RICH      # an attribute may close a reference cycle
            track_reachable(value)
        PyObject_GenericSetAttr(self, name, value)

    # ---- numbers

    def __add__(self, other):
        return binary(op_add, self, other)

    def __radd__(self, other):
        return binary(op_add, other, self)

    def __sub__(self, other):
        return binary(op_subtract, self, other)

    def __rsub__(self, other):
        return binary(op_subtract, other, self)

    def __mul__(self, other):
        return binary(op_multiply, self, other)

    def __rmul__(self, other):
        return binary(op_multiply, other, self)

    def __truediv__(self, other):
        return binary(op_divide, self, other)

    def __rtruediv__(self, other):
        return binary(op_divide, other, self)

    def __pow__(self, other, modulo):
        return NotImplemented if modulo is not None else binary(op_power, self, other)

    def __rpow__(self, other, modulo):
        return NotImplemented if modulo is not None else binary(op_power, other, self)

    def __matmul__(self, other):
        return binary(op_matmul, self, other)

    def __rmatmul__(self, other):
        return binary(op_matmul, other, self)

    def __floordiv__(self, other):
        return binary(number_ops["floor_divide"], self, other)

    def __rfloordiv__(self, other):
        return binary(number_ops["floor_divide"], other, self)

    def __mod__(self, other):
        return binary(number_ops["remainder"], self, other)

    def __rmod__(self, other):
        return binary(number_ops["remainder"], other, self)

    def __and__(self, other):
        return binary(number_ops["bitwise_and"], self, other)

    def __rand__(self, other):
        return binary(number_ops["bitwise_and"], other, self)

    def __or__(self, other):
        return binary(number_ops["bitwise_or"], self, other)

    def __ror__(self, other):
        return binary(number_ops["bitwise_or"], other, self)

    def __xor__(self, other):
        return binary(number_ops["bitwise_xor"], self, other)

    def __rxor__(self, other):
        return binary(number_ops["bitwise_xor"], other, self)

    def __lshift__(self, other):
        return binary(number_ops["bitwise_left_shift"], self, other)

    def __rlshift__(self, other):
        return binary(number_ops["bitwise_left_shift"], other, self)

    def __rshift__(self, other):
        return binary(number_ops["bitwise_right_shift"], self, other)

    def __rrshift__(self, other):
        return binary(number_ops["bitwise_right_shift"], other, self)

    def __lt__(self, other):
        return binary(number_ops["less"], self, other)

    def __le__(self, other):
        return binary(number_ops["less_equal"], self, other)

    def __gt__(self, other):
        return binary(number_ops["greater"], self, other)

    def __ge__(self, other):
        return binary(number_ops["greater_equal"], self, other)

    def __eq__(self, other):
        return binary(number_ops["equal"], self, other)

    def __ne__(self, other):
        return binary(number_ops["not_equal"], self, other)

    def __neg__(self):
        return unary(op_negative, self)

    def __pos__(self):
        return unary(number_ops["positive"], self)

    def __abs__(self):
        return unary(number_ops["abs"], self)

    def __invert__(self):
        return unary(number_ops["bitwise_invert"], self)

    # ---- in place

    def __iadd__(self, other):
        return inplace_operator(op_add, self, other)

    def __isub__(self, other):
        return inplace_operator(op_subtract, self, other)

    def __imul__(self, other):
        return inplace_operator(op_multiply, self, other)

    def __itruediv__(self, other):
        return inplace_operator(op_divide, self, other)

    def __ipow__(self, other, modulo):
        return inplace_operator(op_power, self, other)

    def __ifloordiv__(self, other):
        return inplace_operator(number_ops["floor_divide"], self, other)

    def __imod__(self, other):
        return inplace_operator(number_ops["remainder"], self, other)

    def __imatmul__(self, other):
        return inplace_operator(op_matmul, self, other)

    def __iand__(self, other):
        return inplace_operator(number_ops["bitwise_and"], self, other)

    def __ior__(self, other):
        return inplace_operator(number_ops["bitwise_or"], self, other)

    def __ixor__(self, other):
        return inplace_operator(number_ops["bitwise_xor"], self, other)

    def __ilshift__(self, other):
        return inplace_operator(number_ops["bitwise_left_shift"], self, other)

    def __irshift__(self, other):
        return inplace_operator(number_ops["bitwise_right_shift"], self, other)

    # ---- items, conversions

    def __getitem__(self, key):
        return get_item(self, key)

    def __setitem__(self, key, value):
        set_item(self, key, value)

    def __len__(self):
        shape = self.shape
        if not shape:
            raise TypeError("len() of a 0-d tensor")
        return shape[0]

    def __iter__(self):
        return special_methods["__iter__"](self)

    def __contains__(self, value):
        return special_methods["__contains__"](self, value)

    def __bool__(self):
        return special_methods["__bool__"](self)

    def __int__(self):
        return special_methods["__int__"](self)

    def __float__(self):
        return special_methods["__float__"](self)

    def __complex__(self):
        return special_methods["__complex__"](self)

    def __index__(self):
        return special_methods["__index__"](self)

    def __repr__(self):
        return special_methods["__repr__"](self)

    def __format__(self, specification):
        return special_methods["__format__"](self, specification)

    def __reduce_ex__(self, protocol):
        return special_methods["__reduce_ex__"](self, protocol)
