"""Section D: what a tensor says of its history when printed. Numbers and layout are tested with agrad.printing."""


def test_s041_a_leaf(t):
    assert repr(t) == "tensor([1., 2.], requires_grad=True)"


def test_s042_a_result(t):
    assert repr(t * 2) == "tensor([2., 4.], grad_fn=<MulBackward0>)"


def test_s042_a_long_suffix_goes_to_its_own_line(torch):
    x = torch.ones(16, requires_grad=True)
    assert repr(x * 1) == (
        "tensor([1., 1., 1., 1., 1., 1., 1., 1., 1., 1., 1., 1., 1., 1., 1., 1.],\n       grad_fn=<MulBackward0>)"
    )


def test_s042_internal_nodes_print_without_namespace(torch, t):
    y = t * 1
    y[0] = 3.0
    assert repr(y) == "tensor([3., 2.], grad_fn=<CopySlices>)"


def test_s043_another_dtype_comes_first(torch):
    x = torch.tensor([1.0], dtype=torch.float64, requires_grad=True)
    assert repr(x).replace("torch.", "agrad.") == "tensor([1.], dtype=agrad.float64, requires_grad=True)"
    y = x * 2
    assert repr(y).replace("torch.", "agrad.") == "tensor([2.], dtype=agrad.float64, grad_fn=<MulBackward0>)"


def test_s045_detached_and_empty(torch, t):
    assert repr(t.detach()) == "tensor([1., 2.])"
    assert repr(torch.tensor([], requires_grad=True)) == "tensor([], requires_grad=True)"


def test_s045_a_parameter(torch):
    assert repr(torch.nn.Parameter(torch.ones(2))) == "Parameter containing:\ntensor([1., 1.], requires_grad=True)"
    frozen = torch.nn.Parameter(torch.ones(2), requires_grad=False)
    assert repr(frozen) == "Parameter containing:\ntensor([1., 1.])"
    assert repr(frozen.detach()) == "tensor([1., 1.])"
