"""Weights computed from others, agrad.nn.utils.parametrize and parametrizations: the same programs as torch's."""

import copy
import pickle

import numpy as np
import pytest
from array_libraries import values
from module_programs import names, plain, said

import agrad
from agrad import nn
from agrad.nn.utils import parametrizations, parametrize


def linear(m, n_in=3, n_out=3):
    layer = m.nn.Linear(n_in, n_out, dtype=m.float64)
    numbers = m.asarray(np.sin(np.arange(n_in * n_out, dtype=float)).reshape(n_out, n_in))
    layer.load_state_dict({"weight": numbers, "bias": m.zeros((n_out,), dtype=m.float64)})
    return layer


def functions(m):
    class Double(m.nn.Module):
        def forward(self, x):
            return 2 * x

        def right_inverse(self, x):
            return x / 2

    class Square(m.nn.Module):
        def forward(self, x):
            return x * x

    class Sum(m.nn.Module):
        def forward(self, x, y):
            return x + y

        def right_inverse(self, z):
            return z / 4, 3 * z / 4

    class Single(m.nn.Module):
        def forward(self, x):
            return x.to(m.float32)

    class Cut(m.nn.Module):
        def forward(self, x):
            return x[:1]

    class Number(m.nn.Module):
        def forward(self, x):
            return 3

    class WrongInverse(Double):
        def right_inverse(self, x):
            return x.to(m.float32)

    return locals()


def tools(m):
    return m.nn.utils.parametrize


def computed(m, *kinds, unsafe=False):
    layer, made = linear(m), functions(m)
    for kind in kinds:
        tools(m).register_parametrization(layer, "weight", made[kind](), unsafe=unsafe)
    return layer


def facts(m, layer):
    """What a layer looks like, computes and learns."""
    layer.zero_grad()
    y = layer(m.ones((2, 3), dtype=m.float64))
    (y**2).sum().backward()
    gradients = {name: p.grad for name, p in layer.named_parameters()}
    return [repr(layer), names(layer.named_parameters()), list(layer.state_dict()), plain(y), plain(gradients),
            plain(layer.weight), tools(m).is_parametrized(layer), tools(m).is_parametrized(layer, "bias")]


def assigned(m, *kinds):
    layer = computed(m, *kinds)
    layer.weight = m.ones((3, 3), dtype=m.float64)
    return facts(m, layer)


def removed(m, *kinds, leave=True):
    layer = computed(m, *kinds)
    before = layer.parametrizations.weight.original if "Sum" not in kinds else None
    tools(m).remove_parametrizations(layer, "weight", leave_parametrized=leave)
    return [*facts(m, layer), type(layer).__name__, layer.weight is before]


def of_a_buffer(m):
    module = m.nn.Module()
    module.register_buffer("scale", m.ones(2, dtype=m.float64))
    tools(m).register_parametrization(module, "scale", functions(m)["Double"]())
    return [list(module.state_dict()), names(module.named_parameters()), module.scale]


PROGRAMS = {
    **{f"{' then '.join(kinds)}": lambda m, kinds=kinds: facts(m, computed(m, *kinds))
       for kinds in [("Double",), ("Square",), ("Sum",), ("Double", "Square"), ("Sum", "Double")]},
    **{f"{' then '.join(kinds)}, assigned": lambda m, kinds=kinds: assigned(m, *kinds)
       for kinds in [("Double",), ("Sum",), ("Double", "Double"), ("Sum", "Double")]},
    "assigned where there is no inverse": lambda m: assigned(m, "Square"),
    **{f"{' then '.join(kinds)}, removed": lambda m, kinds=kinds: removed(m, *kinds)
       for kinds in [("Double",), ("Square",), ("Sum",), ("Double", "Square")]},
    "removed, the original left": lambda m: removed(m, "Square", leave=False),
    "removed, of several the original left": lambda m: removed(m, "Sum", leave=False),
    "removed where there is none": lambda m: tools(m).remove_parametrizations(linear(m), "weight"),
    "of a buffer": of_a_buffer,
    "of nothing": lambda m: tools(m).register_parametrization(linear(m), "nothing", functions(m)["Double"]()),
    "shape and dtype stay": lambda m: [
        said(lambda kind=kind: computed(m, kind)) for kind in ("Single", "Cut", "Number")],
    "unless it is unsafe": lambda m: plain(computed(m, "Cut", unsafe=True).weight),
    "an inverse of another dtype": lambda m: computed(m, "WrongInverse"),
    "in the mode of the module": lambda m: (lambda function: [
        tools(m).register_parametrization(linear(m).eval(), "weight", function).training, function.training,
    ])(functions(m)["Double"]()),
}


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_computed_tensors_are_as_torchs(program):
    torch = pytest.importorskip("torch")
    expected = said(lambda: program(torch))
    assert said(lambda: program(agrad)) == expected


LAYERS = {
    "linear": lambda m: (m.nn.Linear(4, 3, dtype=m.float64), (5, 4)),
    "convolution": lambda m: (m.nn.Conv2d(2, 3, 2, dtype=m.float64), (1, 2, 4, 4)),
    "transposed": lambda m: (m.nn.ConvTranspose1d(2, 3, 2, dtype=m.float64), (1, 2, 4)),
}
KINDS = {
    "weight_norm": {}, "weight_norm, axis 1": {"dim": 1}, "weight_norm, one length": {"dim": None},
    "spectral_norm": {}, "spectral_norm, three steps": {"n_power_iterations": 3},
    "spectral_norm, of bias": {"name": "bias", "dim": 0},
}


@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
@pytest.mark.parametrize("kind", KINDS)
def test_norms_are_torchs_step_by_step(kind, layer):
    torch = pytest.importorskip("torch")
    wrap = kind.split(",")[0]
    (ours, shape), (theirs, _) = layer(agrad), layer(torch)
    torch.manual_seed(0)
    getattr(torch.nn.utils.parametrizations, wrap)(theirs, **KINDS[kind])
    getattr(parametrizations, wrap)(ours, **KINDS[kind])
    assert repr(ours) == repr(theirs)
    ours.load_state_dict(theirs.state_dict())
    x = np.cos(np.arange(np.prod(shape), dtype=float)).reshape(shape)
    for step in range(4):
        results = {}
        for m, net in ((agrad, ours), (torch, theirs)):
            net.train(step < 3)
            net.zero_grad()
            y = net(m.asarray(x))
            (y**3).sum().backward()
            with m.no_grad():
                for p in net.parameters():
                    p.sub_(0.01 * p.grad)
            found = [y.detach(), *(p.grad for p in net.parameters()), *net.buffers()]
            results[m.__name__] = [values(t) for t in found]
        for one, other in zip(results["agrad"], results["torch"], strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-8, atol=1e-10)


def test_the_spectral_norm_is_one():
    agrad.manual_seed(0)
    for layer in (nn.Linear(20, 30), nn.Conv2d(3, 8, 3), nn.ConvTranspose2d(3, 8, 3)):
        parametrizations.spectral_norm(layer, n_power_iterations=60)
        weight = values(layer.weight.detach())
        matrix = np.moveaxis(weight, 1 if isinstance(layer, nn.ConvTranspose2d) else 0, 0)
        largest = np.linalg.svd(matrix.reshape(matrix.shape[0], -1))[1].max()
        assert abs(largest - 1) < 1e-4


@pytest.mark.parametrize("twin", [copy.deepcopy, copy.copy, lambda module: pickle.loads(pickle.dumps(module))],
                         ids=["deepcopy", "copy", "pickle"])
def test_copies_stay_computed_and_are_freed_apart(twin):
    layer = parametrizations.weight_norm(nn.Linear(3, 2))
    found = twin(layer)
    assert found.weight.tolist() == layer.weight.tolist()
    assert type(found).__name__ == "ParametrizedLinear"
    if twin is not copy.copy:
        parametrize.remove_parametrizations(found, "weight")
        assert type(found) is nn.Linear
        assert parametrize.is_parametrized(layer, "weight")
        layer.weight.sum().backward()


def test_a_class_is_as_before_when_all_is_removed():
    layer = parametrizations.spectral_norm(parametrizations.weight_norm(nn.Linear(3, 2)), "bias")
    other = nn.Linear(3, 2)
    assert names(other.named_parameters()) == ["weight", "bias"]
    parametrize.remove_parametrizations(layer, "weight")
    assert type(layer).__name__ == "ParametrizedLinear"
    parametrize.remove_parametrizations(layer, "bias")
    assert type(layer) is nn.Linear
    assert not hasattr(layer, "parametrizations")
    assert sorted(names(layer.named_parameters())) == ["bias", "weight"]


def test_errors_of_norms():
    with pytest.raises(ValueError, match="has no parameter or buffer with name 'nothing'"):
        parametrizations.spectral_norm(nn.Linear(2, 2), "nothing")
    with pytest.raises(ValueError, match="Expected n_power_iterations to be positive, but got n_power_iterations=0"):
        parametrizations.spectral_norm(nn.Linear(2, 2), n_power_iterations=0)
    with pytest.raises(IndexError, match=r"expected to be in range of \[-2, 1\] but got 2"):
        parametrizations.spectral_norm(nn.Linear(2, 2), dim=2)


def test_norms_on_every_backend(backend):
    if backend == "sparse":
        pytest.skip("sparse arrays cannot be written, which the initialization of layers does")
    layer = nn.Linear(3, 2)
    for norm in (parametrizations.weight_norm, parametrizations.spectral_norm):
        norm(layer)
    y = layer(agrad.ones((4, 3)))
    agrad.sum(y * y).backward()
    assert y.backend_.name == backend
    assert all(np.isfinite(values(p.grad)).all() for p in layer.parameters())
