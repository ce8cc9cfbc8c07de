# What tensors share with others: cells (storage and version), likes (shape without memory), grad states (leaves).

@cython.final
@cython.freelist(64)
@cython.no_gc      # refers to arrays and ops only, which know nothing of tensors
cdef class Cell:
    def __init__(self):
        raise TypeError("cells are made by the engine")


@cython.final
cdef class Like:
    """Shape, dtype and device of an array without its memory.

    Attributes
    ----------
    shape : tuple of int
    dtype, device
        The backend's own objects.
    """

    def __init__(self):
        raise TypeError("made by the engine")

    @property
    def ndim(self):
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self):
        """Number of elements."""
        n = 1
        for length in self.shape:
            n *= length
        return n

    def zeros(self):
        """Zeros of this shape, dtype and device, in the world that the rule runs in."""
        raw = self.backend.zeros(self.shape, self.dtype, self.device)
        return wrap(self.backend, raw) if self.tensors else raw

    def full(self, value):
        """A constant of this shape, dtype and device."""
        raw = self.backend.full(self.shape, value, self.dtype, self.device)
        return wrap(self.backend, raw) if self.tensors else raw

    def ones(self):
        """Ones of this shape, dtype and device."""
        return self.full(1)

    def __repr__(self):
        return f"<like {self.shape} {self.dtype}>"


cdef Like like_of(Backend backend, object raw):
    cdef Like like = Like.__new__(Like)
    like.backend = backend
    like.shape = shape_of(backend, raw)
    like.dtype = raw.dtype if backend.plain else backend.dtype_of(raw)
    if backend.devices:
        like.device = backend.device_of(raw)
    return like


cdef Like like_in_world(Like like, bint tensors):
    """The same likeness, making Tensors or raw arrays."""
    cdef Like other
    if like is None or like.tensors == tensors:
        return like
    other = Like.__new__(Like)
    other.backend, other.shape, other.dtype, other.device, other.tensors = like.backend, like.shape, like.dtype, like.device, tensors
    return other


@cython.final
cdef class GradState:
    def __init__(self):
        raise TypeError("made by the engine")


cdef inline GradState grad_state(Tensor t):
    if t.state is None:
        t.state = GradState.__new__(GradState)
    return t.state


cdef inline Cell cell_of(Tensor t):
    """The tensor's storage, made when it is first needed."""
    cdef Cell cell = t.cell
    if cell is None:
        cell = Cell.__new__(Cell)
        cell.array = t.raw
        t.cell = cell
    return cell


cdef inline Tensor wrap(Backend backend, object raw):
    """An untracked Tensor around a raw value."""
    cdef Tensor t = Tensor.__new__(Tensor)
    t.raw = raw
    t.backend = backend
    return t


cdef inline int synchronise(Tensor t) except -1:
    """Bring a tensor up to date that shares its storage with others."""
    if t.cell is not None and t.cell.version != t.seen:
        refresh(t)
    elif t.view_ is not None and (t.view_.base.node is not t.view_.base_node or (t.view_.base.flags & TRACKED) > t.view_.base_tracked):
        refresh(t)
    return 0


cdef inline View take_parent(View view):
    """Take the view that a view was taken from out of one that is being freed, if nobody else holds it."""
    cdef View parent = None
    if view.parent is not None and Py_REFCNT(<PyObject*>view.parent) == 1:
        parent, view.parent = view.parent, None
    return parent


@cython.final
@cython.freelist(64)
@cython.trashcan(True)
cdef class View:
    def __dealloc__(self):
        cdef View parent = take_parent(self)      # views of views are freed one by one
        while parent is not None:
            parent = take_parent(parent)

    def __init__(self):
        raise TypeError("made by the engine")
