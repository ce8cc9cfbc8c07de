"""A layer of PyTorch's and the same of agrad's with its weights; whether outputs and all gradients agree."""

import numpy as np

import agrad


def pair(torch_class, agrad_class, *args, **kwargs):
    """A layer of each, in float64; parameters move through state_dict."""
    import torch

    theirs = torch_class(*args, dtype=torch.float64, **kwargs)
    ours = agrad_class(*args, dtype=agrad.float64, **kwargs)
    assert [(name, tuple(value.shape)) for name, value in ours.state_dict().items()] == [
        (name, tuple(value.shape)) for name, value in theirs.state_dict().items()
    ]
    ours.load_state_dict({name: value.numpy() for name, value in theirs.state_dict().items()})
    return theirs, ours


def flat(result):
    """The tensors of nested results in their order."""
    if isinstance(result, (tuple, list)):
        return [tensor for part in result for tensor in flat(part)]
    return [] if result is None else [result]


def assert_same(ours, theirs, what="", tolerance=1e-12):
    actual, expected = (x.detach().numpy() for x in (ours, theirs))
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance, err_msg=str(what))


def assert_alike(layers, inputs, tolerance=1e-12, **options):
    """Outputs, the gradients of inputs and of parameters; `inputs` and `options` are NumPy arrays, or anything else."""
    import torch

    outputs, gradients = [], []
    for layer, make, floating in zip(layers, (torch.tensor, agrad.tensor), (torch.float64, agrad.float64), strict=True):
        made = {}      # what is one array is one tensor
        args = [made.setdefault(id(x), given(x, make)) for x in inputs]
        leaves = [x for x in made.values() for x in flat(x) if x.dtype == floating]
        for leaf in leaves:
            leaf.requires_grad_()
        results = flat(layer(*args, **{name: given(x, make) for name, x in options.items()}))
        sum((k + 1) * (result.sin().sum()) for k, result in enumerate(results)).backward()
        outputs.append(results)
        gradients.append([x.grad for x in leaves] + [p.grad for p in layer.parameters()])
        layer.zero_grad()
    for k, (theirs, ours) in enumerate(zip(*outputs, strict=True)):
        assert tuple(ours.shape) == tuple(theirs.shape)
        assert_same(ours, theirs, f"output {k}", tolerance)
    for k, (theirs, ours) in enumerate(zip(*gradients, strict=True)):
        assert (theirs is None) == (ours is None), f"gradient {k}"
        if theirs is not None:
            assert_same(ours, theirs, f"gradient {k}", tolerance)


def given(x, make):
    """Arrays, also in tuples, as tensors."""
    if isinstance(x, tuple):
        return tuple(given(part, make) for part in x)
    return make(x) if isinstance(x, np.ndarray) else x
