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


def translated(program):
    """The program with agrad in its import lines, which is all that changes."""
    program = re.sub(r"^import torch$", "import agrad as torch", program, flags=re.MULTILINE)
    return re.sub(r"^(import|from) torch\b", r"\1 agrad", program, flags=re.MULTILINE)


def printout(program, names):
    """What a program prints, an error as its last line; and its names."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            exec(compile(program, "<tutorial>", "exec"), names)
        except Exception as error:
            print(f"{type(error).__name__}: {error}")
    return normal(printed.getvalue()), names


@pytest.fixture
def run():
    """Run a program after `import agrad as torch`; return its printout, an error as its last line, and its names."""
    agrad.set_default_dtype(agrad.float32)

    def run(program, **names):
        return printout(translated(program), {**names, "torch": agrad})

    yield run
    agrad.set_default_dtype(None)


@pytest.fixture
def same(run):
    """Run a program and compare its printout with the tutorial's."""

    def same(program, expected, **names):
        printed, names = run(program, **names)
        assert printed == normal(expected)
        return names

    return same


@pytest.fixture
def alike():
    """Run a program in PyTorch and in agrad, both in float64, and compare the printouts; return agrad's names.

    A program calls `same_weights(model)` once per model: what PyTorch drew for it, agrad's model gets.
    """
    theirs = pytest.importorskip("torch", reason="compared with PyTorch, which is not installed")

    def alike(program, **names):
        weights = []

        def keep(model):
            weights.append({name: t.detach().numpy().copy() for name, t in model.state_dict().items()})

        def give(model):
            model.load_state_dict({name: agrad.tensor(array) for name, array in weights.pop(0).items()})

        expected, _ = printout(program, {**names, "torch": theirs, "same_weights": keep})
        found, names = printout(translated(program), {**names, "torch": agrad, "same_weights": give})
        assert found == expected
        assert found
        assert "Error: " not in found
        return names

    previous = theirs.get_default_dtype()
    theirs.set_default_dtype(theirs.float64)
    agrad.set_default_dtype(agrad.float64)
    yield alike
    theirs.set_default_dtype(previous)
    agrad.set_default_dtype(None)
