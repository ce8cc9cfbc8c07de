"""The JAX backend: jax.numpy arrays, eager, sharded, and traced by jax.jit, jax.vmap, jax.grad and their like.

Arrays are immutable, so a write makes a new array. A traced array has neither values nor a device: nothing here asks
for them unless the array is at hand, and nothing keeps an array from one call to the next.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import solve_triangular
from jax.sharding import NamedSharding, PartitionSpec, Sharding

from agrad import dtypes
from agrad.backends import jax_windows
from agrad.backends.adapter import Adapter
from agrad.cython_core import engine
from agrad.cython_core.engine import Tensor

Tracer = jax.core.Tracer
# The class of all arrays that are not traced; its name is not public.
Concrete = next((kind for kind in jax.Array.__subclasses__() if kind.__name__ == "ArrayImpl"), jax.Array)

RAW = {d: jnp.dtype(getattr(jnp, d.name)) for d in dtypes.DTYPES.values()}
NEUTRAL = {raw: d for d, raw in RAW.items()}
WIDE = ("int64", "uint64", "float64", "complex128")     # there only when JAX is told so
NO_WIDE = (
    "jax has {} only when 64-bit numbers are switched on: call jax.config.update('jax_enable_x64', True) at the start "
    "of the program, or set JAX_ENABLE_X64=1 in the environment"
)


def check_narrow(array: Any) -> None:
    """Raise if 64-bit integers, of which JAX keeps 32 bits without a word, do not fit into these."""
    limits = np.iinfo(array.dtype.name.replace("64", "32"))
    if array.size and not (limits.min <= array.min() and array.max() <= limits.max):
        raise OverflowError(f"numbers beyond {limits.min} ... {limits.max}: " + NO_WIDE.format(array.dtype.name))


# ------------------------------------------------------------------------------------------------- devices and creation


def fitting(device: Any, shape: tuple[int, ...]) -> Any:
    """The place for an array of another shape than the one whose sharding this is; replicated where it is not split."""
    if not isinstance(device, Sharding):
        return device
    try:
        device.shard_shape(shape)
    except (ValueError, IndexError):
        return NamedSharding(device.mesh, PartitionSpec()) if isinstance(device, NamedSharding) else None
    return device


def usual_device() -> Any:
    """Where JAX puts what nobody places."""
    chosen = jax.config.jax_default_device
    return chosen if isinstance(chosen, jax.Device) else jax.local_devices(backend=chosen)[0]


def placed(device: Any, shape: tuple[int, ...]) -> Any:
    """The device to hand to JAX: none for the usual one, so that JAX may still move the new array to others."""
    return None if device is None or device == usual_device() else fitting(device, shape)


def of_shape(function: Callable[..., Any]) -> Callable[..., Any]:
    """zeros and its like: the device may be the sharding of an array of another shape."""
    def create(shape: Any, /, *args: Any, dtype: Any = None, device: Any = None) -> Any:
        if device is not None:
            device = placed(device, shape if isinstance(shape, tuple) else (shape,))
        return function(shape, *args, dtype=dtype, device=device)

    return create


def of_numbers(function: Callable[..., Any]) -> Callable[..., Any]:
    """arange and its like: the shape is known afterwards."""
    def create(*args: Any, device: Any = None, **kwargs: Any) -> Any:
        made = function(*args, **kwargs)
        place = placed(device, made.shape)
        return made if place is None else jax.device_put(made, place)

    return create


# ------------------------------------------------------------------------------------------------------------ kernels


def _astype(x: Any, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Any:
    if x.dtype.kind == "c" and dtype.kind in "iuf":
        x = jnp.real(x)     # what jnp.astype does, with a warning
    x = jnp.astype(x, dtype, copy=copy)
    return x if device is None else jax.device_put(x, device)


# Whether these two return their argument decides whether the result is a view of it; JAX's do so where it is traced.
def _conj(x: Any, /) -> Any:
    return jnp.conj(x) if x.dtype.kind == "c" else x


def _positive(x: Any, /) -> Any:
    return jnp.array(jnp.positive(x), copy=True)


def _cumulative_prod(
    x: Any, /, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False
) -> Any:
    if dtype is None and x.dtype.kind in "biu":     # as jnp.prod and jnp.cumulative_sum do
        dtype = jnp.promote_types(x.dtype, jnp.uint if x.dtype.kind == "u" else jnp.int_)
    return jnp.cumulative_prod(x, axis=axis, dtype=dtype, include_initial=include_initial)


def _permute_dims(x: Any, /, axes: Any) -> Any:
    return jnp.transpose(x, [axis % x.ndim for axis in axes])


def _searchsorted(x1: Any, x2: Any, /, *, side: str = "left", sorter: Any = None) -> Any:
    return jnp.searchsorted(x1, x2, side=side, sorter=sorter).astype(int)


def _take(x: Any, indices: Any, /, *, axis: int | None = None) -> Any:
    check_range(indices, x.size if axis is None else x.shape[axis], axis or 0)
    return jnp.take(x, indices, axis=axis)


def _take_along_axis(x: Any, indices: Any, /, *, axis: int = -1) -> Any:
    check_range(indices, x.shape[axis], axis)
    return jnp.take_along_axis(x, indices, axis)


def _solve_triangular(x1: Any, x2: Any, /, *, upper: bool = False, unit_diagonal: bool = False) -> Any:
    right = x2[..., None] if x2.ndim == 1 else x2
    batch = jnp.broadcast_shapes(x1.shape[:-2], right.shape[:-2])
    x1 = jnp.broadcast_to(x1, batch + x1.shape[-2:])
    right = jnp.broadcast_to(right, batch + right.shape[-2:])
    if not right.size:
        return jnp.zeros_like(right[..., 0] if x2.ndim == 1 else right)
    found = solve_triangular(x1, right, lower=not upper, unit_diagonal=unit_diagonal)
    return found[..., 0] if x2.ndim == 1 else found


# ------------------------------------------------------------------------------------------------------------- indices
# JAX clamps places that there are not, and leaves out writes to them. Where a key is known that is an error, as
# everywhere else.


def width(part: Any) -> int:
    """How many axes of x a part of a key stands for."""
    if part is None or part is Ellipsis or isinstance(part, bool):
        return 0
    return int(part.ndim) if is_mask(part) else 1


def is_mask(part: Any) -> bool:
    return isinstance(part, jax.Array) and part.dtype == bool


def axes_of(key: Any, ndim: int) -> Iterator[tuple[Any, int]]:
    """The parts of a key but for Ellipsis, each with the axis of x that it begins at."""
    parts = key if isinstance(key, tuple) else (key,)
    axis, left_out = 0, ndim - sum(map(width, parts))
    for part in parts:
        if part is Ellipsis:
            axis += left_out
        else:
            yield part, axis
            axis += width(part)


def check_key(key: Any, shape: tuple[int, ...]) -> None:
    """Raise if a key names a place that there is not, as far as that is known."""
    if type(key) is slice or key is Ellipsis:
        return
    for part, axis in axes_of(key, len(shape)):
        if axis >= len(shape):
            continue        # too many indices: JAX says so
        if type(part) is int:
            if not -shape[axis] <= part < shape[axis]:
                raise IndexError(f"index {part} is out of bounds for axis {axis} with size {shape[axis]}")
        elif isinstance(part, jax.Array) and part.dtype != bool:
            check_range(part, shape[axis], axis)


def check_range(indices: Any, n: int, axis: int) -> None:
    """Raise if an index array names a place that there is not; looked at only where that waits for no accelerator."""
    if type(indices) is not Concrete or not indices.size or platform_of(indices) != "cpu":
        return
    if not indices.is_fully_addressable:
        return
    places = np.asarray(indices)
    if places.min() < -n or places.max() >= n:
        wrong = places[(places < -n) | (places >= n)].flat[0]
        raise IndexError(f"index {wrong} is out of bounds for axis {axis} with size {n}")


def platform_of(raw: Any) -> str:
    """What kind of device an array lives on; of a traced one, where programs run when nothing is said."""
    if isinstance(raw, Tracer):
        return str(jax.default_backend())
    return str(next(iter(raw.sharding.device_set)).platform)


def flat_mask(key: Any, x: Any, value: Any) -> Any:
    """The mask of a key that has no other choice in it, and the value, both so that they broadcast against x.

    None if the key is another, or the value has an element of its own for every place of the mask.
    """
    chosen = [(part, axis) for part, axis in axes_of(key, x.ndim) if not (type(part) is slice and part == slice(None))]
    if len(chosen) != 1 or not is_mask(chosen[0][0]):
        return None
    mask, start = chosen[0]
    rest = x.ndim - start - mask.ndim
    if not mask.ndim or mask.shape != x.shape[start : start + mask.ndim]:
        return None
    if np.ndim(value) > rest:
        if value.shape[-rest - 1] != 1:
            return None
        split = value.ndim - rest - 1
        value = jnp.reshape(value, (*value.shape[:split], *[1] * mask.ndim, *value.shape[split + 1 :]))
    return jnp.reshape(mask, (*[1] * start, *mask.shape, *[1] * rest)), value


def last_writes(x: Any, key: Any, value: Any) -> Any:
    """The value with every write to a place that is written again later replaced by the last one to that place."""
    numbers = jnp.reshape(jnp.arange(x.size), x.shape)
    places = numbers[key]
    value = jnp.broadcast_to(value, places.shape)
    writes = jnp.arange(places.size)
    last = jnp.zeros((x.size,), dtype=writes.dtype).at[jnp.ravel(places)].max(writes)
    return jnp.reshape(jnp.ravel(value)[last[jnp.ravel(places)]], places.shape)


def repeats(key: Any) -> bool:
    """Whether a key may name a place twice."""
    parts = key if isinstance(key, tuple) else (key,)
    return any(isinstance(part, jax.Array) and part.dtype != bool and part.ndim for part in parts)


# ------------------------------------------------------------------------------------------------------------- writing


def write_back(x: Any, value: Any, op: Any, args: Any, output: int) -> Any:
    """x with `value` where a view operation on x leads; None for an operation that cannot be turned round."""
    given = {} if args is None else dict(zip(op.parameters, args, strict=True))
    if op.name in ("reshape", "squeeze", "expand_dims"):
        return jnp.reshape(value, x.shape)
    if op.name == "permute_dims":
        return jnp.transpose(value, sorted(range(x.ndim), key=[axis % x.ndim for axis in given["axes"]].__getitem__))
    if op.name == "matrix_transpose":
        return jnp.matrix_transpose(value)
    if op.name == "moveaxis":
        return jnp.moveaxis(value, given["destination"], given["source"])
    if op.name == "flip":
        return jnp.flip(value, axis=given.get("axis"))
    if op.name == "unstack":
        return x.at[(slice(None),) * (given.get("axis", 0) % x.ndim) + (output,)].set(value)
    if op.name == "linalg.diagonal":
        offset, along = given.get("offset", 0), jnp.arange(value.shape[-1])
        return x.at[..., along + max(-offset, 0), along + max(offset, 0)].set(value)
    if op.name in ("real", "imag") and x.dtype.kind == "c":
        return jax.lax.complex(value, x.imag) if op.name == "real" else jax.lax.complex(x.real, value)
    if op.name in ("real", "astype", "conj", "diff", "positive"):
        return value        # these are views where they return their argument
    return None


# --------------------------------------------------------------------------------------------------------------- trees


def flatten(t: Tensor) -> tuple[tuple[Any], bool]:
    """A tensor as JAX's transformations take it: its array, and whether it is a leaf that requires grad."""
    if t.backend_.name != "jax":
        raise TypeError(
            f"a tensor of {t.backend_.name} was given to a function of jax: move it with to(backend='jax'), "
            "or pass its array"
        )
    if t.grad_fn is not None:
        raise RuntimeError(
            "a tensor that has a history cannot enter or leave a function that jax transforms, since its gradient "
            "could not flow back through it: pass t.detach(), and call backward() on the same side as the operations"
        )
    return (t.detach().array,), t.requires_grad


def unflatten(requires_grad: bool, children: tuple[Any]) -> Tensor:
    """A tensor around an array, or around what JAX puts in an array's place for a while."""
    from agrad import backends

    (raw,) = children
    backend = backends.find("jax")
    return engine.make_tensor(backend, raw, requires_grad=requires_grad and backend.is_differentiable(raw))


jax.tree_util.register_pytree_node(Tensor, flatten, unflatten)


# ------------------------------------------------------------------------------------------------------------- adapter


class Jax(Adapter):
    """JAX arrays, eager or traced."""

    label, arrays, other_arrays, namespace = "jax", Concrete, (jax.Array, Tracer), jnp
    knows_values = False    # as jax.numpy says of itself: the same program may run under jax.jit
    own: ClassVar[dict[str, Callable[..., Any]]] = {
        **{name: of_shape(getattr(jnp, name)) for name in ("empty", "full", "ones", "zeros")},
        **{name: of_numbers(getattr(jnp, name)) for name in ("arange", "eye", "linspace")},
        **{f"fft.{name}": of_numbers(getattr(jnp.fft, name)) for name in ("fftfreq", "rfftfreq")},
        **{name: of_numbers(getattr(jnp, name)) for name in ("empty_like", "full_like", "ones_like", "zeros_like")},
        "astype": _astype, "conj": _conj, "positive": _positive, "cumulative_prod": _cumulative_prod,
        "broadcast_arrays": lambda *arrays: tuple(jnp.broadcast_arrays(*arrays)),
        "meshgrid": lambda *arrays, indexing="xy": tuple(jnp.meshgrid(*arrays, indexing=indexing)),
        "permute_dims": _permute_dims, "searchsorted": _searchsorted, "take": _take,
        "take_along_axis": _take_along_axis, "linalg.solve_triangular": _solve_triangular,
    }

    def __init__(self) -> None:
        super().__init__()
        self._names.update(jax_windows.kernels(self))
        self.mutable = False
        self.devices = self.plain = True

    def version(self) -> str:
        return str(jax.__version__)

    # -- dtypes

    def dtype_of(self, raw: Any) -> Any:
        return raw.dtype

    def shape_of(self, raw: Any) -> tuple[int, ...]:
        return raw.shape    # type: ignore[no-any-return]

    def neutral_dtype(self, raw: Any) -> dtypes.DType:
        return NEUTRAL.get(raw.dtype) or dtypes.of(raw.dtype)

    def is_differentiable(self, raw: Any) -> bool:
        dtype = getattr(raw, "dtype", None)     # what stands for an array in a tree has none
        return dtype is None or (dtype in NEUTRAL and NEUTRAL[dtype].kind in ("real", "complex"))

    def is_complex(self, raw: Any) -> bool:
        return raw.dtype.kind == "c"    # type: ignore[no-any-return]

    def is_complex_dtype(self, dtype: Any) -> bool:
        return dtype.kind == "c"    # type: ignore[no-any-return]

    def to_dtype(self, dtype: Any) -> Any:
        neutral = dtypes.of(dtype)
        if neutral.name in WIDE and not jax.config.jax_enable_x64:
            raise TypeError(NO_WIDE.format(neutral.name))
        return RAW[neutral]

    def default_dtype(self) -> dtypes.DType:
        return dtypes.of("float64" if jax.config.jax_enable_x64 else "float32")

    def default_integer(self) -> dtypes.DType:
        """What Python integers become."""
        return dtypes.of("int64" if jax.config.jax_enable_x64 else "int32")

    # -- devices

    def device_of(self, raw: Any) -> Any:
        return None if isinstance(raw, Tracer) else raw.device

    def to_device(self, device: Any) -> Any:
        if device is None:      # of a traced array
            return usual_device()
        if isinstance(device, (jax.Device, Sharding)):
            return device
        known = self._devices()
        if device not in known:
            raise self.no_device(device)
        return known[device]

    def _devices(self) -> dict[str, Any]:
        """All devices by their names; the first of a kind also by the kind alone."""
        everywhere = [*jax.devices()]
        if everywhere[0].platform != "cpu":
            with suppress(RuntimeError):    # JAX may have been told to leave the processor out
                everywhere += jax.local_devices(backend="cpu")
        firsts = {self.device_name(d).partition(":")[0]: d for d in reversed(everywhere)}
        return {**{self.device_name(d): d for d in everywhere}, **firsts}

    def device_names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self.device_name(d) for d in self._devices().values()))

    def device_name(self, device: Any) -> str:
        if isinstance(device, jax.Device) and device.platform == "cpu":     # JAX writes it in several ways
            return "cpu" if jax.device_count("cpu") == 1 else f"cpu:{device.id}"
        return "traced" if device is None else str(device)

    def usual_device(self) -> Any:
        return usual_device()

    # -- arrays

    def zeros(self, shape: tuple[int, ...], dtype: Any, device: Any) -> Any:
        return jnp.zeros(shape, dtype, device=placed(device, shape))

    def full(self, shape: tuple[int, ...], value: Any, dtype: Any, device: Any) -> Any:
        return jnp.full(shape, value, dtype, device=placed(device, shape))

    def scalar(self, value: Any, dtype: Any, device: Any) -> Any:
        return jnp.asarray(np.asarray(value, dtype=dtype), device=placed(device, ()))

    def copy(self, raw: Any) -> Any:
        return raw      # nobody can write to it

    def copy_like(self, raw: Any, like: Any) -> Any:
        """A gradient is split among devices as its leaf is."""
        if type(raw) is not Concrete or type(like) is not Concrete or raw.sharding == like.sharding:
            return raw
        return jax.device_put(raw, like.sharding)

    def convert(self, raw: Any, dtype: Any, device: Any, copy: bool | None) -> Any:
        moves = device is not None and device != self.device_of(raw)
        if copy is False and (moves or dtype not in (None, raw.dtype)):
            raise ValueError("a copy is needed to change the dtype or the device, and copy=False forbids it")
        made = jnp.array(raw, copy=True) if copy else raw
        made = made if dtype in (None, raw.dtype) else _astype(made, dtype, copy=False)
        return jax.device_put(made, device) if moves else made

    def normalise(self, raw: Any) -> Any:
        """An array whose dtype counts in promotion; JAX's own functions give weak ones for Python numbers."""
        return raw.astype(raw.dtype) if raw.weak_type else raw

    def from_numpy(self, array: Any, dtype: Any, device: Any, copy: bool | None) -> Any:
        if copy is False:
            raise ValueError("jax cannot share the memory of a NumPy array, which others may write to; leave copy out")
        if not array.dtype.isnative:
            array = array.astype(array.dtype.newbyteorder("="))
        if array.dtype.name in ("int64", "uint64") and dtype is None and not jax.config.jax_enable_x64:
            check_narrow(array)
        with jax.ensure_compile_time_eval():    # what is known stays known, also where everything else is traced
            made = jnp.array(array, dtype=dtype, copy=True)
            place = placed(device, made.shape)
            return made if place is None else jax.device_put(made, place)

    def to_numpy(self, raw: Any) -> Any:
        return np.asarray(raw.astype(jnp.float32) if raw.dtype == jnp.bfloat16 else raw)    # NumPy has no bfloat16

    def summary(self, raw: Any) -> str | None:
        return "<traced>" if isinstance(raw, Tracer) else None

    def is_integer_scalar(self, raw: Any) -> bool:
        return not isinstance(raw, Tracer) and super().is_integer_scalar(raw)

    # -- reading and writing at keys

    def key(self, value: Any) -> Any:
        return value if isinstance(value, jax.Array) else super().key(value)

    def get_item(self, x: Any, key: Any, /) -> Any:
        check_key(key, x.shape)
        return x[key]

    def set_item(self, raw: Any, key: Any, value: Any) -> Any:
        check_key(key, raw.shape)
        value = self._fitting(value, raw)
        masked = flat_mask(key, raw, value)
        if masked is not None:      # also where the mask is traced
            return jnp.where(masked[0], masked[1], raw)
        if value.ndim and repeats(key) and platform_of(raw) != "cpu":
            value = last_writes(raw, key, value)    # only on processors does the last write last by itself
        return raw.at[key].set(value)

    def scatter_add(self, raw: Any, key: Any, value: Any) -> Any:
        return raw.at[key].add(self._fitting(value, raw))

    def _fitting(self, value: Any, raw: Any) -> Any:
        """A value in the dtype of `raw`, without axes in front that broadcasting gives it anyway."""
        if not isinstance(value, jax.Array):
            return np.asarray(value).astype(raw.dtype)
        if value.dtype != raw.dtype:
            value = _astype(value, raw.dtype, copy=False)
        front = next((i for i, n in enumerate(value.shape) if n != 1), value.ndim)
        return jnp.reshape(value, value.shape[front:]) if front else value

    def _write_view(self, x: Any, value: Any, steps: Any) -> Any:
        """Step by step: the value where the last step leads, that where the step before leads, and so on."""
        sources = [x]
        for step in steps:
            sources.append(self._read_view(sources[-1], (step,)))
        view = sources.pop()
        value = jnp.broadcast_to(_astype(jnp.asarray(value), view.dtype, copy=False), view.shape)
        for source, (op, args, output) in zip(reversed(sources), reversed(steps), strict=True):
            if op.name == "getitem":
                value = self.set_item(source, args[1], value)
            elif op.name == "read_view":
                value = self._write_view(source, value, args[1])
            else:
                value = write_back(source, value, op, args, output)
            if value is None:
                raise NotImplementedError(f"the backend jax cannot write through a view made by {op.name}")
        return value

    def _extremum(self, x: Any, axis: int, /, *, keepdims: bool = False, largest: bool = True) -> tuple[Any, Any]:
        if not x.ndim:
            return x, jnp.argmax(x)
        return super()._extremum(x, axis, keepdims=keepdims, largest=largest)
