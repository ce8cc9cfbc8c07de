"""Which backend, device and dtype apply where a call says nothing; `use_backend` and the `set_default_*` calls.

The order of the levels is in `agrad.configuration`; here its answers become backends and dtypes. Must know no rule.
"""

from typing import Any

from agrad import backends, configuration, dtypes
from agrad.autograd.grad_mode import ModeContext
from agrad.cython_core import engine


def default_backend() -> Any:
    """The adapter of the default backend."""
    setting = configuration.lookup("backend", engine.get_mode().backend)
    try:
        return backends.find(setting.value)
    except (ValueError, ImportError) as error:
        raise type(error)(f"{error} (the backend was set by: {setting.source})") from None


def default_device(backend: Any) -> Any:
    """The backend's own object for the default device, None where nothing was said."""
    setting = configuration.lookup("device", engine.get_mode().device)
    if setting.value is None:
        return None
    try:
        return backend.to_device(setting.value)
    except (ValueError, RuntimeError) as error:
        raise type(error)(f"{error} (the device was set by: {setting.source})") from None


def default_dtype(backend: Any, device: Any = None) -> dtypes.DType:
    """The neutral dtype of Python floats on a backend, and on a device of it where that makes a difference."""
    value = configuration.lookup("dtype").value
    if value is None:
        value = backend.default_dtype() if device is None else backend.default_dtypes(device)["real floating"]
    return dtypes.of(value)


def get_default_backend() -> str:
    """Name of the backend that creation functions use here.

    Examples
    --------
    >>> import agrad
    >>> agrad.get_default_backend()
    'numpy'
    """
    return str(default_backend().name)


def set_default_backend(name: str | None) -> None:
    """Set the backend of creation functions for the whole process; None takes it back.

    Raises
    ------
    ValueError, ImportError
        If there is no such backend, or its library is not installed.
    """
    if name is not None:
        backends.find(name)
    configuration.set_default("backend", name)


def get_default_device() -> Any:
    """The device that creation functions use here."""
    backend = default_backend()
    device = default_device(backend)
    return backend.device_of(backend.zeros((), backend.to_dtype(default_dtype(backend)), device))


def set_default_device(device: Any) -> None:
    """Set the device of creation functions for the whole process; None takes it back."""
    if device is not None:
        default_backend().to_device(device)
    configuration.set_default("device", device)


def get_default_dtype() -> dtypes.DType:
    """The dtype that Python floats become.

    Examples
    --------
    >>> import agrad
    >>> agrad.get_default_dtype()
    agrad.float64
    """
    return default_dtype(default_backend())


def set_default_dtype(dtype: Any) -> None:
    """Set the dtype that Python floats become, for the whole process; None takes it back.

    Raises
    ------
    TypeError
        If it is not a real floating dtype.
    """
    if dtype is not None:
        dtype = dtypes.of(dtype)
        if not dtype.is_floating:
            raise TypeError(f"only floating-point types are supported as the default type, got {dtype}")
        dtype = dtype.name
    configuration.set_default("dtype", dtype)


class use_backend(ModeContext):
    """Use a backend, and a device of it, for creation functions inside the block; also a decorator.

    Raises
    ------
    ValueError, ImportError
        If there is no such backend or device, or the library is not installed; the message lists what there is.

    Examples
    --------
    >>> import agrad
    >>> with agrad.use_backend("numpy"):
    ...     agrad.zeros(2)
    tensor([0., 0.])
    """

    def __init__(self, name: str, device: Any = None) -> None:
        backend = backends.find(name)
        if device is not None:
            backend.to_device(device)
        super().__init__(backend=name, device=device)
