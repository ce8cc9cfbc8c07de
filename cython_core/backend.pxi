# What a backend is to the engine. Adapters subclass Backend in Python; everything here works without compiled short cuts.

cdef int n_backends = 0
cdef Backend no_backend = None      # of tensors whose constructor did not run


cdef class Backend:
    """One array library, as the engine sees it; adapters subclass it.

    Attributes
    ----------
    name : str
    mutable, lazy, devices, counts_references : bool
        See engine.pxd.
    xp, facade : namespace
        The standard's names on raw arrays and on Tensors.
    """

    def __cinit__(self, *args, **kwargs):
        global n_backends
        self.number = n_backends
        n_backends += 1
        self.mutable = True
        self.other_types = ()

    def _set_types(self, str name, array_type, tuple other_types=(), scalar_type=None):
        self.name, self.array_type, self.other_types = name, array_type, other_types
        self.scalar_type = scalar_type if scalar_type is not None else array_type

    @property
    def array_types(self):
        """All types that count as arrays of this backend."""
        return (self.array_type, *self.other_types)

    # -- the generic ways; adapters override what their library does better or differently

    def kernel(self, op):
        """The raw function that computes `op`; None where this backend has none."""
        return None

    def dtype_of(self, raw):
        return raw.dtype

    def shape_of(self, raw):
        return tuple(raw.shape)

    def device_of(self, raw):
        return None

    def to_dtype(self, dtype):
        """The backend's own dtype for anything that names one."""
        return dtype

    def to_device(self, device):
        return device

    def neutral_dtype(self, raw):
        """The neutral dtype of a raw array."""
        return self.dtype_of(raw)

    def is_differentiable(self, raw):
        """Whether values of this dtype can carry gradients."""
        raise NotImplementedError

    def is_complex(self, raw):
        raise NotImplementedError

    def scalar(self, value, dtype, device):
        """A 0-d array."""
        raise NotImplementedError

    def zeros(self, shape, dtype, device):
        raise NotImplementedError

    def full(self, shape, value, dtype, device):
        raise NotImplementedError

    def copy(self, raw):
        raise NotImplementedError

    def copy_like(self, raw, like):
        """A copy of a gradient, laid out in memory like another array of its shape."""
        return self.copy(raw)

    def laid_out_like(self, raw, like):
        """The array itself, or a copy if it is laid out otherwise than another array of its shape."""
        return raw

    def write(self, raw, value):
        """Write `value` over the whole of a mutable array, broadcasting and casting."""
        raw[...] = value

    def set_item(self, raw, key, value):
        """Write at a key; the array, or a new one where arrays are immutable."""
        raw[key] = value
        return raw

    def add_into(self, raw, value):
        """raw + value, in place where that is possible."""
        return self.xp.add(raw, value)

    def scatter_add(self, raw, key, value):
        """Add `value` at `key`, repeated positions add up; in place where that is possible."""
        raise NotImplementedError

    def writes_alike(self, raw, other, bint divides):
        """Whether `raw += other` (`/=` where it divides) does what storing the sum would do."""
        return False

    def shares(self, a, b):
        """Whether two arrays may share memory; on immutable backends a view op's result always counts as a view."""
        return True

    def is_integer_scalar(self, raw):
        """Whether a raw value is a 0-d array of integers (not booleans)."""
        return False

    def operand(self, value):
        """A raw operand made of something that is neither a Tensor, nor a scalar, nor an array of this backend; NotImplemented."""
        return NotImplemented

    def key(self, value):
        """An index that is neither int, slice, None nor Ellipsis, in the form that kernels of this backend take."""
        return value

    def is_length(self, value):
        """Whether a value that is no int can be the length of an axis: a symbol of a lazy backend."""
        return False

    def normalise(self, raw):
        """A raw result in the form that Tensors keep."""
        return raw

    def as_array(self, raw):
        """The array that a user sees for a raw value (NumPy: arrays for scalars)."""
        return raw

    def quiet(self):
        """A context in which rules run, or None."""
        return None

    def is_fresh(self, raw):
        """Whether a rule's result is provably new: nobody else holds its memory."""
        return False

    def reject_tracked(self, raw):
        """Raise if the array tracks gradients by itself."""


class _Unmade(Backend):
    """The backend of tensors whose constructor never ran."""

    def refuse(self, *_, **__):
        raise RuntimeError("this tensor has no array: a subclass's __init__ must call Tensor.__init__")

    kernel = dtype_of = shape_of = device_of = neutral_dtype = is_differentiable = is_complex = as_array = copy = refuse


no_backend = _Unmade()


cdef inline bint is_array(Backend backend, object raw):
    return (type(raw) is backend.array_type or type(raw) is backend.scalar_type
            or isinstance(raw, backend.other_types) or isinstance(raw, backend.array_type))


cdef inline bint is_tensor(Backend backend, object value):
    """Whether a value of the walk is a Tensor; quick for this backend's own arrays."""
    return type(value) is not backend.array_type and type(value) is not backend.scalar_type and isinstance(value, Tensor)


cdef inline bint same_meta(Backend backend, object a, object b) except -1:
    """Whether two raw arrays have the same shape and dtype."""
    if backend.speed.same != NULL:
        return backend.speed.same(<PyObject*>a, <PyObject*>b)
    if backend.layered:
        return same_layered(a, b)
    return a.dtype == b.dtype and same_shape(shape_of(backend, a), shape_of(backend, b))


cdef bint same_shape(tuple a, tuple b) except -1:
    """Whether two shapes are surely equal; an unknown length (nan, None) is equal to none, not even to itself."""
    cdef Py_ssize_t i
    if len(a) != len(b):
        return False
    for i in range(len(a)):
        if a[i] is None or not (a[i] == b[i]):
            return False
    return True


cdef inline tuple shape_of(Backend backend, object raw):
    return <tuple>raw.shape if backend.plain else <tuple>backend.shape_of(raw)


cdef object kernel_of(Op op, Backend backend):
    """The raw function for an op on a backend, found once."""
    kernel = op.kernels[backend.number] if backend.number < len(op.kernels) else None
    if kernel is None:
        if not op.resolved:
            resolve(op)
        kernel = layered_kernel(op) if backend.layered else find_kernel(op, backend)
        while len(op.kernels) <= backend.number:
            op.kernels.append(None)
        op.kernels[backend.number] = kernel
    return kernel
