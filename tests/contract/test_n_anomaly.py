"""Section N: anomaly mode."""

import inspect
import warnings

import pytest

ENABLED = (
    "Anomaly Detection has been enabled. This mode will increase the runtime and should only be enabled for debugging."
)


@pytest.fixture
def caught(torch):
    """`caught(f)`: the exception that f raises, or None, and the warnings of anomaly mode about nodes."""

    def caught(f):
        error = None
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            try:
                f()
            except Exception as raised:
                error = raised
        texts = [str(w.message) for w in found if w.category is UserWarning]
        texts = [text.partition(" (Triggered")[0] for text in texts]
        return error, [text for text in texts if text.lstrip().startswith(("Error", "Previous"))]

    return caught


@pytest.fixture
def negative(torch):
    return torch.tensor([-1.0, 4.0], requires_grad=True)


def line_here(offset=0):
    return inspect.currentframe().f_back.f_lineno + offset


def test_s168_detect_anomaly_warns_where_it_is_made(torch):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        with torch.autograd.detect_anomaly():
            line = line_here(-1)
            assert torch.is_anomaly_enabled()
    assert [(w.category, str(w.message)) for w in found] == [(UserWarning, ENABLED)]
    assert (found[0].filename, found[0].lineno) == (__file__, line)
    assert not torch.is_anomaly_enabled()


def test_s168_set_detect_anomaly_is_a_function_and_a_context(torch):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        torch.autograd.set_detect_anomaly(True)
        assert torch.is_anomaly_enabled()
        with torch.autograd.set_detect_anomaly(False, check_nan=False):
            assert not torch.is_anomaly_enabled()
        assert torch.is_anomaly_enabled()
        torch.autograd.set_detect_anomaly(False)
    assert not torch.is_anomaly_enabled()


def test_s168_an_exception_ends_the_block(torch):
    with pytest.raises(KeyError), torch.autograd.set_detect_anomaly(True):
        raise KeyError
    assert not torch.is_anomaly_enabled()


def test_s168_nodes_made_inside_know_the_line_of_the_program(torch, t):
    with torch.autograd.set_detect_anomaly(True):
        y = torch.exp(t)
        line = line_here(-1)
        a, _ = torch.meshgrid(t, t, indexing="ij")
    lines = y.grad_fn.metadata["traceback_"]
    assert type(lines) is list
    assert lines[-1] == f'  File "{__file__}", line {line}, in {inspect.currentframe().f_code.co_name}\n' + (
        "    y = torch.exp(t)\n"
    )
    assert "traceback_" not in torch.exp(t).grad_fn.metadata
    assert "traceback_" in a.grad_fn.metadata


@pytest.mark.differs("PyTorch's own frames follow the user's")
def test_s168_the_last_line_is_the_users(torch, t):
    class MyFn(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

    with torch.autograd.set_detect_anomaly(True):
        nodes = [MyFn.apply(t).grad_fn, (t * 2).grad_fn, t.flatten().grad_fn, next(iter(t)).grad_fn]
    for node in nodes:
        assert node.metadata["traceback_"][-1].startswith(f'  File "{__file__}"')


def test_s169_nan_raises_and_shows_the_forward_line(torch, negative, caught):
    def program():
        with torch.autograd.set_detect_anomaly(True):
            torch.sqrt(negative).sum().backward()

    error, texts = caught(program)
    assert type(error) is RuntimeError
    assert str(error) == "Function 'SqrtBackward0' returned nan values in its 0th output."
    assert len(texts) == 1
    assert texts[0].startswith("Error detected in SqrtBackward0. Traceback of forward call that caused the error:\n")
    assert "torch.sqrt(negative).sum().backward()" in texts[0].splitlines()[-1]
    assert negative.grad is None


def test_s169_the_output_is_numbered(torch, t, caught):
    class Second(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, k, y):
            return x + y

        @staticmethod
        def backward(ctx, g):
            return g, None, g * float("nan")

    def program():
        with torch.autograd.set_detect_anomaly(True):
            Second.apply(t, 1, t).sum().backward()

    assert str(caught(program)[0]) == "Function 'SecondBackward' returned nan values in its 1th output."


def test_s169_an_indexed_gradient_is_looked_at(torch, t, caught):
    def program():
        with torch.autograd.set_detect_anomaly(True):
            (t[0] * float("nan")).backward()

    error, texts = caught(program)
    assert str(error) == "Function 'MulBackward0' returned nan values in its 0th output."
    assert len(texts) == 1


def test_s169_infinity_passes(torch, caught):
    x = torch.tensor([0.0, 2.0], requires_grad=True)

    def program():
        with torch.autograd.set_detect_anomaly(True):
            torch.log(x).sum().backward()

    assert caught(program) == (None, [])
    assert x.grad.tolist() == [float("inf"), 0.5]


def test_s169_without_a_forward_pass_inside(torch, negative, caught):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")      # NumPy's
        y = torch.sqrt(negative).sum()

    def program():
        with torch.autograd.set_detect_anomaly(True):
            y.backward()

    error, texts = caught(program)
    assert str(error) == "Function 'SqrtBackward0' returned nan values in its 0th output."
    assert texts == [
        "Error detected in SqrtBackward0. No forward pass information available. Enable detect anomaly during forward "
        "pass for more information."
    ]


def test_s169_an_exception_in_a_rule_shows_the_forward_line(torch, t, caught):
    class Fails(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            raise KeyError("mine")

    def program():
        with torch.autograd.set_detect_anomaly(True):
            Fails.apply(t).sum().backward()

    error, texts = caught(program)
    assert (type(error), error.args) == (KeyError, ("mine",))
    assert texts[0].startswith("Error detected in FailsBackward. Traceback of forward call that caused the error:\n")
    assert "Fails.apply(t).sum().backward()" in texts[0]


def test_s169_double_backward_leads_back_to_the_forward_line(torch, caught):
    x = torch.tensor([0.0, 2.0], requires_grad=True)

    def program():
        with torch.autograd.set_detect_anomaly(True):
            y = (x**1.5).sum()
            (g,) = torch.autograd.grad(y, x, create_graph=True)
            (h,) = torch.autograd.grad(g.sum(), x, create_graph=True)
            torch.autograd.grad((h * 0).sum(), x)

    error, texts = caught(program)
    assert "returned nan values" in str(error)
    assert len(texts) == 3
    assert texts[0].startswith("Error detected in PowBackward0. Traceback of forward call that caused the error:\n")
    assert "(h,) = torch.autograd.grad(g.sum(), x, create_graph=True)" in texts[0]
    start = "\n\nPrevious calculation was induced by PowBackward0. Traceback of forward call that induced the previous "
    assert texts[1].startswith(start)
    assert "(g,) = torch.autograd.grad(y, x, create_graph=True)" in texts[1]
    assert "y = (x**1.5).sum()" in texts[2]


def test_s170_nan_passes_unchecked(torch, negative, caught):
    def program():
        with torch.autograd.set_detect_anomaly(True, check_nan=False):
            torch.sqrt(negative).sum().backward()

    assert caught(program) == (None, [])
    assert str(negative.grad.tolist()) == "[nan, 0.25]"


def test_s170_the_hint_of_a_version_error(torch, t, caught):
    def program():
        with torch.autograd.set_detect_anomaly(True):
            y = t * 1
            z = y * y
            y.add_(1)
            z.sum().backward()

    error, texts = caught(program)
    assert str(error).endswith(
        " Hint: the backtrace further above shows the operation that failed to compute its gradient. The variable in "
        "question was changed in there or anywhere later. Good luck!"
    )
    assert "z = y * y" in texts[0]
