"""The harness sees what it is for: wrong, dropped and missing gradients."""

import numpy as np
import pytest

import agrad
from third_party import harness


def values_of(x):
    return x.detach() if isinstance(x, agrad.Tensor) else x


def only_for(tensors, numpy):
    return lambda x: tensors(x) if isinstance(x, agrad.Tensor) else numpy(x)


X = np.array([0.3, -1.2, 0.8])


@pytest.mark.parametrize(
    ("kind", "function"),
    [
        (harness.RIGHT, lambda x: x**2),
        (harness.RIGHT, lambda x: (x * 3, np.argsort(x))),
        (harness.RIGHT, lambda x: np.fft.fft(x)),
        (harness.FLAT, lambda x: np.argsort(x)),
        (harness.PLAIN, lambda x: 1.0),
        (harness.LEFT, lambda x: float(x.sum())),
        (harness.LEFT, lambda x: x * float(x[0])),
        (harness.WRONG, only_for(lambda x: x * 2.001, lambda x: x * 2)),
        (harness.WRONG, lambda x: x * values_of(x)),
        (harness.WRONG, only_for(lambda x: (x, x * x * 2), lambda x: (x, x * x))),
        (harness.DETACHED, lambda x: values_of(x) * 2),
        (harness.DETACHED, lambda x: (x, values_of(x))),
        (harness.DETACHED, only_for(lambda x: x.detach().numpy(), lambda x: x)),
        (harness.DETACHED, only_for(lambda x: 2.0, lambda x: x[0])),
        (harness.NAN, only_for(lambda x: x * 1.0 + agrad.where(x > 9, agrad.sqrt(x - 9), 0.0), lambda x: x)),
        ("raises RuntimeError", lambda x: np.asarray(x) if isinstance(x, np.ndarray) else x.numpy()),
        ("raises ZeroDivisionError", only_for(lambda x: 1 / 0, lambda x: x)),
    ],
)
def test_outcomes(kind, function):
    case = harness.case(function, X)
    outcome = harness.outcome_of(case, lambda: harness.gradients_on_numpy(case), "raise")
    assert outcome.kind == kind, outcome.detail


def test_the_columns_differ_where_a_saved_value_is_overwritten():
    def function(x):
        y = np.exp(x)
        z = y * y
        y[0] = 0.0
        return z

    case = harness.case(function, X)
    kinds = [
        harness.outcome_of(case, lambda: harness.gradients_on_numpy(case), column).kind for column in harness.COLUMNS
    ]
    assert kinds == ["raises RuntimeError", harness.RIGHT]


def test_complex_inputs_are_compared_in_both_parts():
    z = X + 0.5j
    right = harness.case(lambda z: np.abs(z) ** 2, z)
    assert harness.compare(right, lambda: harness.gradients_on_numpy(right))[0] == harness.RIGHT
    wrong = harness.case(only_for(lambda z: agrad.conj(z) * z * z, lambda z: z * z * z), z)
    assert harness.compare(wrong, lambda: harness.gradients_on_numpy(wrong))[0] == harness.WRONG


def test_messages_name_no_folder_of_this_machine():
    error = TypeError("Multiple namespaces: {<module 'scipy.x' from '/home/me/scipy/x.py'>}\nand more")
    assert harness.message_of(error) == "Multiple namespaces"
    assert harness.message_of(TypeError("no <module 'x' from '/home/me/x.py'>")) == "no <module 'x'>"
