"""Runs the programs of PyTorch tutorials on agrad. It knows nothing of what they compute."""

import contextlib
import io
import re
import warnings

import pytest

import agrad


def normal(text):
    """What two printouts must share: `LogBackward` counts as `LogBackward0`, and `torch.` reads `agrad.`."""
    text = re.sub(r"(Backward)\d+", r"\1", text).replace("torch.", "agrad.")
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


@pytest.fixture
def run():
    """Run a program after `import agrad as torch`; return its printout, an error as its last line, and its names."""
    previous = agrad.get_default_dtype()
    agrad.set_default_dtype(agrad.float32)

    def run(program, **names):
        names["torch"] = agrad
        printed = io.StringIO()
        source = re.sub(r"^import torch$", "import agrad as torch", program, flags=re.MULTILINE)
        with contextlib.redirect_stdout(printed), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                exec(compile(source, "<tutorial>", "exec"), names)
            except Exception as error:
                print(f"{type(error).__name__}: {error}")
        return normal(printed.getvalue()), names

    yield run
    agrad.set_default_dtype(previous)


@pytest.fixture
def same(run):
    """Run a program and compare its printout with the tutorial's."""

    def same(program, expected, **names):
        printed, names = run(program, **names)
        assert printed == normal(expected)
        return names

    return same
