"""agrad: automatic differentiation for every array library that speaks the Python Array API standard.

Top level: the standard's names, PyTorch's autograd words, and PyTorch's spellings of the standard's functions.
This file imports top-down and puts the parts together; it must hold no logic of its own.
"""

import builtins as _builtins
from typing import Any as _Any

from agrad import dtypes as _dtypes
from agrad import standard as _standard
from agrad._version import __version__ as __version__
from agrad.cython_core import engine as _engine
from agrad.cython_core.engine import Tensor, is_grad_enabled, is_inference_mode_enabled

# The ops exist before anything that uses them; their rules are loaded when they are first run.
_ops = {}
for _chapter, _names in _standard.CHAPTERS.items():
    for _name in _names:
        _ops[_name] = _engine.Op(_name, _standard.signature(_name), _standard.REQUIRED)
        _origin = "Beyond the standard:" if _chapter == "beyond" or _name in _standard.FURTHER else "The standard's"
        _function = _engine.make_function(_ops[_name], f"{_origin} `{_name}` ({_chapter}).")
        if _name not in _standard.ENGINE_OPS and "." not in _name:
            globals()[_name] = _function
_engine.bind_operators(_ops)

from agrad import autograd, backends, configuration, namespaces, rules  # noqa: E402
from agrad.autograd import enable_grad, inference_mode, no_grad, set_grad_enabled  # noqa: E402
from agrad.autograd.anomaly_mode import is_anomaly_enabled  # noqa: E402
from agrad.comparison import allclose, is_tensor, isclose  # noqa: E402
from agrad.creation import CREATION as _CREATION  # noqa: E402
from agrad.creation import as_tensor, creation_function, from_numpy, tensor  # noqa: E402
from agrad.creation import asarray as asarray  # noqa: E402
from agrad.defaults import (  # noqa: E402
    get_default_backend,
    get_default_device,
    get_default_dtype,
    set_default_backend,
    set_default_device,
    set_default_dtype,
    use_backend,
)
from agrad.dtype_functions import FUNCTIONS as _DTYPE_FUNCTIONS  # noqa: E402
from agrad.dtype_functions import namespace_info as _namespace_info  # noqa: E402
from agrad.levels import install as _install_levels  # noqa: E402
from agrad.methods import flatten, is_complex, is_floating_point, ravel, swapaxes, transpose  # noqa: E402
from agrad.methods import install as _install  # noqa: E402
from agrad.printing import get_printoptions, printoptions, set_printoptions  # noqa: E402
from agrad.random import (  # noqa: E402
    Generator,
    bernoulli,
    default_generator,
    get_rng_state,
    initial_seed,
    manual_seed,
    multinomial,
    normal,
    poisson,
    rand,
    rand_like,
    randint,
    randint_like,
    randn,
    randn_like,
    randperm,
    seed,
    set_rng_state,
)
from agrad.spellings import ALIASES as _ALIASES  # noqa: E402
from agrad.spellings import amax, amin, chunk, norm, sigmoid, split, take_along_dim  # noqa: E402
from agrad.spellings import squeeze as squeeze  # noqa: E402

_install()
_install_levels()
_engine.install_policy(configuration.walk_policy)
globals().update(_DTYPE_FUNCTIONS)
__array_namespace_info__ = _namespace_info()
globals().update({name: creation_function(name) for name in _CREATION if name != "asarray" and "." not in name})
globals().update({name: namespaces.Prefix(name + ".") for name in _standard.EXTENSIONS})
globals().update({alias: _ops[name].function for alias, name in _ALIASES.items()})
globals().update(_dtypes.DTYPES)
globals().update({name: _dtypes.of(name) for name in _dtypes.TORCH_NAMES if name not in ("bool",)})
globals().update(_standard.CONSTANTS)

__array_api_version__ = _standard.VERSION
__all__ = [
    *(n for ns in _standard.CHAPTERS.values() for n in ns if n not in _standard.ENGINE_OPS and "." not in n),
    *_standard.EXTENSIONS,
    *_ALIASES,
    *_dtypes.DTYPES,
    *_standard.CONSTANTS,
    "allclose",
    "amax",
    "amin",
    "as_tensor",
    "autograd",
    "backends",
    "bernoulli",
    "chunk",
    "default_generator",
    "enable_grad",
    "flatten",
    "from_numpy",
    "Generator",
    "get_default_backend",
    "get_default_device",
    "get_default_dtype",
    "get_printoptions",
    "get_rng_state",
    "inference_mode",
    "initial_seed",
    "is_anomaly_enabled",
    "is_complex",
    "is_floating_point",
    "is_grad_enabled",
    "is_inference_mode_enabled",
    "is_tensor",
    "isclose",
    "manual_seed",
    "multinomial",
    "namespaces",
    "no_grad",
    "norm",
    "normal",
    "poisson",
    "printoptions",
    "rand",
    "rand_like",
    "randint",
    "randint_like",
    "randn",
    "randn_like",
    "randperm",
    "ravel",
    "rules",
    "seed",
    "set_default_backend",
    "set_default_device",
    "set_default_dtype",
    "set_grad_enabled",
    "set_printoptions",
    "set_rng_state",
    "sigmoid",
    "split",
    "swapaxes",
    "take_along_dim",
    "Tensor",
    "tensor",
    "transpose",
    "use_backend",
]


# Imported when first used: a module, or a name of one.
_LATER = {
    "export": "", "func": "", "load": "saving", "nn": "", "optim": "", "optimize": "", "profiler": "", "save": "saving",
    "testing": "", "utils": "", "viz": "", "vmap": "func",
}


def __getattr__(name: str) -> _Any:
    """Names of plugins: `agrad.physics.lj` is found when it is first used."""
    if not name.startswith("_"):
        if name in _LATER:
            from importlib import import_module

            home = import_module(f"agrad.{_LATER[name] or name}")
            return getattr(home, name) if _LATER[name] else home
        if _engine.owns_prefix(name):
            return globals().setdefault(name, namespaces.Prefix(name + "."))
    raise AttributeError(f"module 'agrad' has no attribute {name!r}")


def __dir__() -> _builtins.list[str]:
    return sorted({*__all__, *_LATER, "__version__"})
