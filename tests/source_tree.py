"""Where the source tree is, for the tests that read it: beside this folder, or where AGRAD_SOURCE says."""

import os
from pathlib import Path

import pytest

SOURCE = Path(os.environ.get("AGRAD_SOURCE", Path(__file__).resolve().parents[1]))
PACKAGES = {  # folder -> import package
    "agrad": "agrad",
    "cython_core": "agrad.cython_core",
    "backends": "agrad.backends",
    "plugins": "agrad.plugins",
}
needs_source = pytest.mark.skipif(
    not (SOURCE / "cython_core").is_dir(), reason=f"no source tree in {SOURCE}; set AGRAD_SOURCE to it"
)
