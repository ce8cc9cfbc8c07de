# Arguments as kernels take them: operands and keys unwrapped, statics frozen.

cdef object raw_operand(Op op, int i, Backend backend, object value):
    """One array argument as kernels take it."""
    if isinstance(value, Tensor):
        if (<Tensor>value).backend is not backend:
            raise mixed_backends(op, backend, (<Tensor>value).backend)
        synchronise(<Tensor>value)
        return (<Tensor>value).raw
    if agrad_is_scalar(<PyObject*>value):
        return value
    raw = foreign_operand(op, backend, value)
    if raw is NotImplemented:
        raise TypeError(f"{op.name}() expects a Tensor, an array of {backend.name} or a number for {op.parameters[i]!r}, "
                        f"but got {type(value).__name__}; make one with agrad.asarray(...)")
    return raw


cdef object raw_key(Backend backend, object key, list guards):
    """An index as kernels take it: tensors unwrapped (and noted, so that writes to them are found), lists and arrays copied."""
    if key is None or key is Ellipsis or type(key) is int or type(key) is slice and is_plain_slice(<slice>key):
        return key
    if isinstance(key, Tensor):
        if (<Tensor>key).backend is not backend and backend.adopts > (<Tensor>key).backend.adopts:
            key = adopted(op_getitem, backend, <Tensor>key)
        synchronise(<Tensor>key)
        if (<Tensor>key).backend is not backend:
            raise TypeError(f"a tensor of {backend.name} cannot be indexed with one of {(<Tensor>key).backend.name}")
        if not backend.lazy and backend.is_integer_scalar((<Tensor>key).raw):
            return int((<Tensor>key).raw)       # x[i] with a 0-d tensor is the same view as with an int
        cell = cell_of(<Tensor>key)
        guards.append(new_saved((<Tensor>key).raw, cell, cell.version))
        cell.saved_version = cell.version + 1
        return (<Tensor>key).raw
    if type(key) is tuple:
        return tuple([backend.key(list(part)) if type(part) is tuple else raw_key(backend, part, guards) for part in <tuple>key])
    if type(key) is slice:
        return slice(slice_part(backend, key.start), slice_part(backend, key.stop), slice_part(backend, key.step))
    if isinstance(key, list) and any([isinstance(part, (slice, type(None), type(Ellipsis), Tensor)) for part in key]):
        raise IndexError("an index that mixes slices or tensors must be a tuple, not a list")
    return backend.key(key)


cdef inline bint is_plain_slice(slice key):
    return ((key.start is None or type(key.start) is int) and (key.stop is None or type(key.stop) is int)
            and (key.step is None or type(key.step) is int))


cdef object slice_part(Backend backend, object part):
    return part if part is None or backend.is_length(part) else operator.index(part)


cdef object static_value(Op op, int i, object value):
    """A static argument; a tensor with one element counts as its number."""
    if isinstance(value, Tensor):
        if (<Tensor>value).size != 1 or (<Tensor>value).flags & TRACKED:
            raise TypeError(f"{op.name}(): {op.parameters[i]!r} must be a Python value, not a Tensor; the signature is {op.name}{op.signature.text}")
        return value.item()
    return freeze(value)


cdef object place_value(Op op, Backend backend, int kind, object value):
    """A dtype or device as the backend names it."""
    try:
        return backend.to_dtype(value) if kind == DTYPE else backend.to_device(value)
    except (TypeError, ValueError) as error:
        raise under_name(op, error) from None


cdef object shape_value(Op op, Backend backend, object value):
    """A shape: integers, and on lazy backends symbols."""
    if not isinstance(value, (tuple, list)):
        return (length_value(op, backend, value),)
    if isinstance(value, tuple) and type(value) is not tuple and backend.lazy:
        return value        # the backend's own shape, which knows more than the lengths
    return tuple([length if type(length) is int else length_value(op, backend, length) for length in value])


cdef object length_value(Op op, Backend backend, object value):
    if backend.is_length(value):
        return value
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{op.name}() on the backend {backend.name}: a shape is made of integers, got {value!r}; where a length is not known "
                        "yet, use zeros_like(x) and its like, or compute it first") from None


cdef object freeze(object value):
    """A static argument that later changes by the caller cannot reach."""
    return tuple([freeze(part) for part in value]) if isinstance(value, list) else value
