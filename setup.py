"""Build script: only what pyproject.toml cannot say (the folder mapping and Cython).

Switches, each an environment variable set to 1:

- ``AGRAD_NONECHECK``: attribute access on a ``None`` extension object raises instead of crashing (debug build).
- ``AGRAD_CYTHON_TRACING``: line tracing, for coverage of the compiled files. Never in a release: calls get slower.
- ``AGRAD_CYTHON_STRICT``: Cython's warnings are errors.
"""

import os
import shutil
import sys
from pathlib import Path

import Cython
from Cython.Build import cythonize
from Cython.Compiler import Options
from setuptools import Extension, find_packages, setup

FOLDERS = {  # import package -> top-level folder
    "agrad": "agrad",
    "agrad.cython_core": "cython_core",
    "agrad.backends": "backends",
    "agrad.plugins": "plugins",
}
COMPILED = "agrad.cython_core"

NONECHECK = os.environ.get("AGRAD_NONECHECK") == "1"
TRACING = os.environ.get("AGRAD_CYTHON_TRACING") == "1"
STRICT = os.environ.get("AGRAD_CYTHON_STRICT") == "1"

DIRECTIVES = {
    "language_level": "3",  # Python 3 semantics, said aloud
    "binding": True,  # functions have real signatures and use vectorcall
    "embedsignature": True,  # help() shows the signature of slots and properties too
    "embedsignature.format": "python",  # the default, "c", prints C types and misplaces keyword-only arguments
    "auto_pickle": False,  # graph objects must not become picklable by accident
    "nonecheck": NONECHECK,  # costs a test per attribute; release code declares its arguments `not None`
    "linetrace": TRACING,  # coverage only: slows every call down even where nobody traces
    "warn.unused": True,  # a forgotten variable is noise or a mistake
    "warn.maybe_uninitialized": True,  # reads before assignment fail at run time only
}


def list_packages():
    """Yield every package of the tree under its import name, so that a new sub-package cannot be forgotten."""
    for package, folder in FOLDERS.items():
        yield package
        yield from (f"{package}.{name}" for name in find_packages(folder))


def mirror_declarations():
    """Rebuild a tree named like the import path that holds the .pxd files; Cython finds them nowhere else."""
    root = Path("build", "declarations")
    shutil.rmtree(root, ignore_errors=True)
    target = root.joinpath(*COMPILED.split("."))
    target.mkdir(parents=True)
    for declaration in Path(FOLDERS[COMPILED]).glob("*.pxd"):
        shutil.copy2(declaration, target)  # keeps the time stamp: nothing is compiled twice
    for folder in (target, target.parent):
        (folder / "__init__.pxd").touch()
    return str(root)


def changes_variant():
    """Tell whether the last build used other switches or another Cython, whose files must not be taken over."""
    stamp = Path("build", "variant")
    now = f"nonecheck={NONECHECK} tracing={TRACING} cython={Cython.__version__}"
    before = stamp.read_text() if stamp.exists() else ""
    stamp.parent.mkdir(exist_ok=True)
    stamp.write_text(now)
    return before != now


def compiler_settings():
    """Return the keywords that every extension shares."""
    macros = [("CYTHON_TRACE", "1"), ("CYTHON_USE_SYS_MONITORING", "0")] if TRACING else []
    if sys.platform == "win32":
        return {"define_macros": macros}
    debug = NONECHECK or TRACING
    return {
        "define_macros": macros,
        "extra_compile_args": ["-O3"],  # some distributions build Python, and with it extensions, with -O2
        "extra_link_args": ["-Wl,-s"] if sys.platform == "linux" and not debug else [],  # a fifth of the size
    }


def list_extensions():
    """Return an extension per .pyx file; those that need NumPy's headers may be missing or fail to build."""
    folder = Path(FOLDERS[COMPILED])
    parts = sorted(path.as_posix() for pattern in ("*.pxi", "*.pxd", "*.h") for path in folder.glob(pattern))
    extensions = []
    for source in sorted(folder.glob("*.pyx")):
        settings = compiler_settings()
        if source.stem.startswith("numpy_"):
            try:
                import numpy
            except ImportError:
                print(f"agrad: without numpy {source.stem} is left out (slower, not wrong)", file=sys.stderr)
                continue
            settings["include_dirs"] = [numpy.get_include()]
            settings["define_macros"] += [("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION")]
            settings["optional"] = True
        if source.stem == "numpy_updates" and sys.platform != "win32":
            # roots that set no errno can be vectorized; unfused products give what NumPy's separate loops give
            settings["extra_compile_args"] += ["-fno-math-errno", "-ffp-contract=off"]
        extensions.append(Extension(f"{COMPILED}.{source.stem}", [source.as_posix()], depends=parts, **settings))
    return extensions


Options.warning_errors = STRICT
force = changes_variant()
setup(
    packages=list(list_packages()),
    package_dir=FOLDERS,
    ext_modules=cythonize(
        list_extensions(),
        include_path=[mirror_declarations()],
        compiler_directives=DIRECTIVES,
        force=force,
    ),
    options={"build_ext": {"force": force}},
)
