"""What a checkpoint finds out: functions that compute something else the second time, and values written over."""

import pytest
from checkpointed import engine_is_in_order, leaf

import agrad
from agrad.autograd import grad
from agrad.utils.checkpoint import CheckpointError, checkpoint

pytestmark = pytest.mark.usefixtures("doubles")    # gradients are compared exactly: both ways compute the same numbers


def test_a_written_argument_is_found():
    x = leaf(0.5, 1.0)
    middle = x * 1
    y = checkpoint(lambda m: agrad.sin(m) * m, middle)
    middle += 1
    with pytest.raises(RuntimeError, match="written over before the walk"):
        y.sum().backward()


def test_a_value_written_inside_the_function_is_found():
    def f(x):
        y = agrad.exp(x)
        z = y * x
        y.zero_()
        return agrad.sin(z + y)

    x = leaf(0.5, 1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        f(x).sum().backward()
    with pytest.raises(RuntimeError, match="written over inside the function"):
        checkpoint(f, x).sum().backward()


SECOND_RUNS = {
    "shape": (lambda x: x[:1] * x[:1], "shape"),
    "dtype": (lambda x: agrad.sin(x.to(agrad.float32)), "dtype"),
    "fewer values": (lambda x: x * 2, "a further run saved"),
    "no value": (lambda x: x + 1, "a further run saved 0"),
}


@pytest.mark.parametrize("name", SECOND_RUNS)
@pytest.mark.parametrize("debug", [False, True])
def test_another_computation_is_found(name, debug):
    other, text = SECOND_RUNS[name]
    functions = [lambda x: agrad.sin(x) * agrad.exp(x), other]
    x = leaf(0.5, 1.0)
    y = checkpoint(lambda x: functions.pop(0)(x), x, debug=debug)
    with pytest.raises(CheckpointError, match=text) as caught:
        y.sum().backward()
    assert ("debug=True" in str(caught.value)) is not debug
    assert ("test_checkpoint_checks.py" in str(caught.value)) is debug
    assert isinstance(caught.value, RuntimeError)
    assert x.grad is None
    assert engine_is_in_order()


def test_more_values_are_found_where_the_function_runs_to_its_end():
    functions = [agrad.sin, lambda x: agrad.sin(x) * agrad.exp(x)] * 2
    x = leaf(0.5)
    checkpoint(lambda x: functions.pop(0)(x), x).backward()
    with pytest.raises(CheckpointError, match="a further run saved"):
        checkpoint(lambda x: functions.pop(0)(x), x, early_stop=False).backward()


def test_the_comparison_can_be_left_out():
    functions = [agrad.sin, lambda x: agrad.sin(x.to(agrad.float32))]
    x = leaf(0.5)
    y = checkpoint(lambda x: functions.pop(0)(x), x, determinism_check="none")
    assert grad(y, x)[0].tolist() == pytest.approx(grad(agrad.sin(x), x)[0].tolist(), rel=1e-6)


@pytest.mark.parametrize(
    ("given", "text"),
    [({"use_reentrant": True}, "use_reentrant=False"), ({"determinism_check": "all"}, "'default' or 'none'")],
)
def test_what_it_refuses(given, text):
    calls = []
    with pytest.raises(ValueError, match=text):
        checkpoint(calls.append, leaf(1.0), **given)
    assert calls == []
