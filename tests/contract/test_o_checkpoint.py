"""Section O, statement 175: checkpoints. What else they do is tested in test_checkpoint.py."""

import importlib
import warnings

import pytest


@pytest.fixture
def checkpoint(torch):
    return importlib.import_module(torch.__name__ + ".utils.checkpoint").checkpoint


def counting(torch):
    """A function and the list of its calls."""
    calls = []

    def function(x):
        calls.append(torch.rand(2).tolist())
        return torch.exp(torch.sin(x))

    return function, calls


def test_s175_the_function_runs_once_more_in_backward(checkpoint, torch, t):
    function, calls = counting(torch)
    y = checkpoint(function, t, use_reentrant=False)
    assert len(calls) == 1
    y.sum().backward()
    assert len(calls) == 2
    plain = torch.tensor([1.0, 2.0], requires_grad=True)
    torch.exp(torch.sin(plain)).sum().backward()
    assert t.grad.tolist() == plain.grad.tolist()


def test_s175_random_numbers_are_restored_by_default(checkpoint, torch, t):
    function, calls = counting(torch)
    checkpoint(function, t, use_reentrant=False).sum().backward()
    assert calls[0] == calls[1]
    checkpoint(function, t, use_reentrant=False, preserve_rng_state=False).sum().backward()
    assert calls[2] != calls[3]


def test_s175_other_metadata_is_an_error(checkpoint, torch, t):
    error = importlib.import_module(torch.__name__ + ".utils.checkpoint").CheckpointError
    functions = [torch.sin, lambda x: torch.sin(x[:1])]
    y = checkpoint(lambda x: functions.pop(0)(x), t, use_reentrant=False)
    with pytest.raises(error):
        y.sum().backward()
    assert issubclass(error, RuntimeError)


def test_s175_autograd_grad_works(checkpoint, torch, t):
    (g,) = torch.autograd.grad(checkpoint(torch.sin, t, use_reentrant=False).sum(), t)
    assert g.tolist() == torch.cos(t).tolist()


@pytest.mark.differs("there is one kind of checkpoint: nothing to choose, nothing to warn of")
def test_s175_there_is_no_reentrant_kind(checkpoint, torch, t):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        checkpoint(torch.sin, t).sum().backward()
    assert t.grad.tolist() == torch.cos(t).tolist()
    with pytest.raises(ValueError, match="use_reentrant=False"):
        checkpoint(torch.sin, t, use_reentrant=True)
