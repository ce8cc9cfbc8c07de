"""Which line of a program is the user's: the same answer for anomaly mode, for reports and for checkpoints."""

import warnings

import pytest

import agrad
from agrad.autograd import user_code
from agrad.utils.checkpoint import CheckpointError, checkpoint


def run_as(name, filename, source, **names):
    """Run source as if it stood in a module of that name."""
    names |= {"__name__": name, "agrad": agrad}
    exec(compile(source, filename, "exec"), names)
    return names


@pytest.mark.parametrize(
    ("name", "filename", "user"),
    [
        ("agrad.methods", "<doctest agrad.methods[0]>", True),
        ("agrad.methods", "/somewhere/agrad/methods.py", False),
        ("agrad_of_mine", "/somewhere/mine.py", True),
    ],
)
class TestLine:
    def test_by_itself(self, name, filename, user):
        source = "def asker():\n    return user_code.frame(), user_code.line()\nfound, line = asker()"
        names = run_as(name, filename, source, user_code=user_code)
        assert (names["found"].above, names["found"].called) == ((0, "") if user else (2, "<module>"))
        assert names["line"].startswith(f"{filename}:2" if user else f"{__file__}:")

    def test_in_anomaly_mode(self, name, filename, user):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with agrad.autograd.detect_anomaly():
                y = run_as(name, filename, "y = agrad.sin(agrad.ones(1, requires_grad=True))")["y"]
        assert (filename in y.grad_fn.metadata["traceback_"][-1]) is user

    def test_in_a_checkpoint(self, name, filename, user):
        source = "def f(x):\n    return agrad.sin(agrad.exp(x) if more.pop() else x)"
        f = run_as(name, filename, source, more=[False, True])["f"]
        y = checkpoint(lambda x: f(x), agrad.ones(1, requires_grad=True), debug=True)
        with pytest.raises(CheckpointError) as caught:
            y.sum().backward()
        assert (f"{filename}:2" in str(caught.value)) is user
        assert (f"{__file__}:" in str(caught.value)) is not user

    def test_in_a_report(self, name, filename, user):
        x = agrad.ones(1, requires_grad=True)

        def program():
            return run_as(name, filename, "y = agrad.sign(x.detach())", x=x)["y"]

        assert (f"{filename}:1" in str(agrad.autograd.graph.explain(program))) is user
