"""PyTorch's autograd contract, statement by statement: `test_s078_...` tests statement 78 of the list.

The tests see agrad by the name that a PyTorch program gives it, with PyTorch's default dtype. They use nothing
but the public surface. A test marked `differs` says where agrad departs from PyTorch on purpose; all others
hold for both libraries.
"""

import contextlib
import warnings

import pytest

import agrad


def pytest_configure(config):
    config.addinivalue_line("markers", "differs(why): agrad departs from PyTorch on purpose")


@pytest.fixture
def torch():
    agrad.set_default_dtype(agrad.float32)
    yield agrad
    agrad.set_default_dtype(None)


@pytest.fixture
def t(torch):
    """The leaf that the statements speak of."""
    return torch.tensor([1.0, 2.0], requires_grad=True)


@pytest.fixture
def raises():
    """`raises(error, text)` wants these words exactly, `raises(error, start=text)` as the beginning."""

    @contextlib.contextmanager
    def raises(error, text=None, *, start=""):
        with pytest.raises(error) as caught:
            yield
        message = str(caught.value).replace("torch.", "agrad.")
        if text is not None:
            assert message == text.replace("torch.", "agrad.")
        assert message.startswith(start.replace("torch.", "agrad."))

    return raises


@pytest.fixture
def grad_of():
    """Read `.grad` of a non-leaf without its warning."""

    def grad_of(tensor):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return tensor.grad

    return grad_of
