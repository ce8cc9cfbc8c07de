"""agrad.nn.Module: the same programs with torch.nn and agrad.nn; then what only agrad has."""

import copy
import gc
import pickle
import re
import weakref

import numpy as np
import pytest
from array_libraries import values
from module_programs import linear, names, net, point, said, then

import agrad
from agrad import nn


def assigned(m, name, value):
    module = net(m)
    setattr(module, name, value)
    return [
        names(module.named_parameters(recurse=False)), names(module.named_buffers(recurse=False)),
        names(module.named_children()), type(getattr(module, name)).__name__,
    ]


def replaced(m, name, value):
    """Set an attribute of a layer, which has a parameter, buffers and a plain one, and which holds a module."""
    module = linear(m)()
    module.child = m.nn.Module()
    setattr(module, name, value)
    return [names(module.named_parameters()), names(module.named_buffers()), names(module.named_children()),
            sorted(module.state_dict())]


KINDS = {
    "parameter": lambda m: m.nn.Parameter(m.ones(2)), "buffer": lambda m: m.nn.Buffer(m.ones(2)),
    "module": lambda m: m.nn.Module(), "tensor": lambda m: m.ones(2), "none": lambda m: None, "number": lambda m: 3,
    "transient buffer": lambda m: m.nn.Buffer(m.ones(2), persistent=False),
}
PROGRAMS = {
    "parameters are named by their path, once": lambda m: names(net(m).named_parameters()),
    "or by all their paths": lambda m: names(net(m).named_parameters(remove_duplicate=False)),
    "with a prefix": lambda m: names(net(m).named_parameters(prefix="model")),
    "without those inside": lambda m: names(net(m).named_parameters(recurse=False)),
    "parameters are counted once": lambda m: len(list(net(m).parameters())),
    "buffers": lambda m: names(net(m).named_buffers()),
    "buffers under all names": lambda m: names(net(m).named_buffers(remove_duplicate=False)),
    "buffers that are None do not count": lambda m: len(list(linear(m)().buffers())),
    "children once": lambda m: names(net(m).named_children()),
    "modules once": lambda m: names(net(m).named_modules()),
    "modules with a prefix": lambda m: names(net(m).named_modules(prefix="p")),
    "modules under all names": lambda m: names(net(m).named_modules(remove_duplicate=False)),
    "modules without names": lambda m: [type(module).__name__ for module in net(m).modules()],
    "children without names": lambda m: [type(module).__name__ for module in net(m).children()],
    "the text": lambda m: repr(net(m)),
    "the text of one without parts": lambda m: [repr(m.nn.Module()), repr(linear(m)())],
    "the text has more lines": lambda m: repr(type("Many", (linear(m),), {"extra_repr": lambda self: "a\nb"})()),
    "what dir shows": lambda m: [name in dir(net(m)) for name in ("first", "scale", "train", "0")],
    "forward": lambda m: net(m)(point(m)),
    "forward by keyword": lambda m: linear(m)(3, 2)(point(m), scale=2.0),
    "forward is missing": lambda m: m.nn.Module()(3),
    "parts by name": lambda m: [
        net(m).get_submodule("block.inner").size, net(m).get_parameter("block.inner.bias"),
        net(m).get_buffer("first.calls"), type(net(m).get_submodule("")).__name__,
    ],
    **{f"no such part: {method} {path}": lambda m, method=method, path=path: getattr(net(m), method)(path)
       for method in ("get_submodule", "get_parameter", "get_buffer")
       for path in (
           "nothing", "block.nothing", "block.inner.nothing.a", "first.size", "block.", "first.last", "tied.a")},
    "apply runs inside out": lambda m: (lambda seen: then(
        lambda: net(m).apply(lambda module: seen.append(type(module).__name__)), lambda: seen))([]),
    "train and eval": lambda m: [
        [module.training for module in net(m).eval().modules()],
        [module.training for module in net(m).eval().train().modules()],
    ],
    "a mode is a bool": lambda m: net(m).train(3),
    "freezing": lambda m: [p.requires_grad for p in net(m).requires_grad_(False).parameters()],
    "before init: a parameter": lambda m: type("N", (m.nn.Module,), {
        "__init__": lambda self: setattr(self, "a", m.nn.Parameter(m.ones(1)))})(),
    "before init: a module": lambda m: type("N", (m.nn.Module,), {
        "__init__": lambda self: setattr(self, "a", m.nn.Module())})(),
    "before init: a buffer": lambda m: type("N", (m.nn.Module,), {
        "__init__": lambda self: self.register_buffer("a", None)})(),
    "before init: registering": lambda m: type("N", (m.nn.Module,), {
        "__init__": lambda self: self.register_parameter("a", None)})(),
    "before init: other attributes": lambda m: type("N", (m.nn.Module,), {
        "__init__": lambda self: setattr(self, "a", 3)})().a,
    "arguments of init": lambda m: m.nn.Module(3),
    **{f"{what} assigned to {name}": lambda m, make=make, name=name: replaced(m, name, make(m))
       for what, make in KINDS.items() for name in ("weight", "calls", "cache", "last", "child", "size", "new")
       # PyTorch takes a Parameter or a Module in the place of any attribute, but no Buffer
       if not ("buffer" in what and name == "size")},
    **{f"{what} assigned beside modules": lambda m, make=make: assigned(m, "scale", make(m))
       for what, make in KINDS.items()},
    **{f"registered: {kind} {name!r} {what}": lambda m, kind=kind, name=name, what=what: replaced_by_registering(
        m, kind, name, KINDS[what](m))
       for kind in ("parameter", "buffer", "module") for name in ("a.b", "", "forward", "size", "new", 3)
       for what in ("none", kind)},
    **{f"registered: {kind} of a wrong kind": lambda m, kind=kind: replaced_by_registering(m, kind, "new", 3)
       for kind in ("parameter", "buffer", "module")},
    "a parameter is a leaf": lambda m: linear(m)().register_parameter(
        "a", m.nn.Parameter(m.ones(2)) * 2),
    "deleting": lambda m: (lambda module: then(
        lambda: (delattr(module, "weight"), delattr(module, "calls"), delattr(module, "size")),
        lambda: names(module.named_parameters()), lambda: names(module.named_buffers()),
        lambda: list(module.state_dict()), lambda: said(lambda: module.weight)))(linear(m)()),
    "deleting what is not there": lambda m: delattr(linear(m)(), "nothing"),
    "an attribute that is not there": lambda m: linear(m)().nothing,
    "a part put in another's place": lambda m: (lambda module: then(
        lambda: module.set_submodule("block.inner", m.nn.Module()), lambda: repr(module)))(net(m)),
    "gradients": lambda m: (lambda module: then(
        lambda: module(point(m)).sum().backward(), lambda: [p.grad for p in module.parameters()]))(net(m)),
    "gradients dropped": lambda m: (lambda module: then(
        lambda: (module(point(m)).sum().backward(), module.zero_grad()),
        lambda: [p.grad for p in module.parameters()]))(net(m)),
    "gradients set to zero": lambda m: (lambda module: then(
        lambda: (module(point(m)).sum().backward(), module.zero_grad(set_to_none=False)),
        lambda: [p.grad for p in module.parameters()]))(net(m)),
    "state": lambda m: dict(net(m).state_dict()),
    "state with a prefix": lambda m: list(net(m).state_dict(prefix="a.")),
    "state added to a dict": lambda m: (lambda found: then(
        lambda: net(m).state_dict(destination=found), lambda: list(found)))({"a": 1}),
    "casts": lambda m: [str(p.dtype).split(".")[-1] for module in (
        net(m).float(), net(m).half(), net(m).float().double(), net(m).to(m.float32),
        net(m).to(dtype=m.float16), net(m).to(m.ones(1, dtype=m.float32)),
    ) for p in (module.scale, module.first.calls)],
    "a cast to integers": lambda m: net(m).to(m.int32),
    "a parameter stays itself when cast": lambda m: (lambda module, before: [
        a is b for a, b in zip(before, module.float().parameters(), strict=True)])(
            *(lambda module: (module, list(module.parameters())))(net(m))),
    "its gradient is cast with it": lambda m: (lambda module: then(
        lambda: (module(point(m)).sum().backward(), module.float()),
        lambda: [str(p.grad.dtype).split(".")[-1] for p in module.parameters()]))(net(m)),
}


def replaced_by_registering(m, kind, name, value):
    module = linear(m)()
    getattr(module, {"module": "add_module"}.get(kind, f"register_{kind}"))(name, value)
    return [names(module.named_parameters()), names(module.named_buffers()), names(module.named_children())]


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_modules_do_what_torchs_do(program):
    torch = pytest.importorskip("torch")
    expected = said(lambda: program(torch))
    assert said(lambda: program(agrad)) == expected


# ------------------------------------------------------------------------------------------------------------ agrad's


def test_a_parameter_shares_the_memory_of_its_data_and_is_a_leaf():
    data = agrad.ones(2) * 3
    p = nn.Parameter((data * 1.0).requires_grad_() * 1.0)
    assert p.is_leaf
    assert p.requires_grad
    assert isinstance(p, agrad.Tensor)
    for data in (agrad.ones(2), agrad.asarray(1.0)):
        p = nn.Parameter(data)
        data.fill_(5.0)
        assert np.all(values(p) == 5.0)
        with agrad.no_grad():
            p.fill_(6.0)
        assert np.all(values(data) == 6.0)
    assert type(p * 2) is type(p.detach()) is type(p.data) is agrad.Tensor
    assert not nn.Parameter(agrad.arange(3), requires_grad=False).requires_grad
    with pytest.raises(RuntimeError, match="floating point and complex"):
        nn.Parameter(agrad.arange(3))


def test_a_parameter_shares_the_storage_of_its_data_on_every_backend(backend):
    data = agrad.asarray([1.0, 2.0])
    p = nn.Parameter(data)
    if backend != "sparse":     # its arrays cannot be written
        data[...] = 5.0
    np.testing.assert_array_equal(values(p), values(data))
    assert p._version == data._version


@pytest.mark.parametrize("twin", [copy.deepcopy, lambda p: pickle.loads(pickle.dumps(p))], ids=["deepcopy", "pickle"])
@pytest.mark.parametrize("requires_grad", [True, False])
def test_copies_of_a_parameter_are_parameters(twin, requires_grad):
    p = nn.Parameter(agrad.asarray([1.0, 2.0]), requires_grad)
    p.grad = agrad.ones(2)
    found = twin(p)
    assert type(found) is nn.Parameter
    assert found.requires_grad is requires_grad
    assert found.grad is None
    found.data.fill_(7.0)
    assert p.tolist() == [1.0, 2.0]
    shallow = copy.copy(p)
    assert type(shallow) is nn.Parameter
    assert np.shares_memory(shallow.array, p.array)


@pytest.mark.parametrize("twin", [copy.deepcopy, copy.copy, lambda b: pickle.loads(pickle.dumps(b))],
                         ids=["deepcopy", "copy", "pickle"])
def test_copies_of_a_buffer_are_buffers(twin):
    module, other = nn.Module(), nn.Module()
    module.mean = nn.Buffer(agrad.zeros(2), persistent=False)
    other.mean = twin(module.mean)
    assert type(other.mean) is nn.Buffer
    assert len(list(other.buffers())) == 1
    assert not other.state_dict()


def test_zero_grad_fills_the_tensor_that_is_there():
    module = nn.Linear(2, 1)
    module(agrad.ones((1, 2))).sum().backward()
    held = module.weight.grad
    module.zero_grad(set_to_none=False)
    assert module.weight.grad is held
    assert held.tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize("twin", [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))],
                         ids=["deepcopy", "pickle"])
def test_copies_of_a_module_stand_alone_and_keep_their_ties(twin):
    module = nn.Sequential(Affine(2), Affine(2), Affine(2))
    module[2].weight = module[0].weight
    module.eval()
    handle = module[1].register_forward_hook(doubled)
    found = twin(module)
    assert found[2].weight is found[0].weight is not module[0].weight
    assert not found.training
    assert not found[1].training
    x = agrad.ones(2)
    assert found(x).tolist() == module(x).tolist()
    handle.remove()
    assert found(x).tolist() != module(x).tolist()      # the hooks of the two are apart
    with agrad.no_grad():
        module[0].weight.fill_(0.0)
    assert found[0].weight.tolist() == [1.5, 1.5]


class Affine(nn.Module):
    """Of this file, so that pickle finds it."""

    def __init__(self, n):
        super().__init__()
        self.weight = nn.Parameter(agrad.ones(n) * 1.5)
        self.register_buffer("shift", agrad.ones(n))

    def forward(self, x):
        return x * self.weight + self.shift


def doubled(module, args, output):
    return output * 2


def test_a_module_is_freed_at_once_with_its_hooks_and_its_graph():
    gc.collect()
    gc.disable()
    try:
        module = nn.Sequential(Affine(2), Affine(2))
        module[0].register_full_backward_hook(lambda module, grad_input, grad_output: None)
        module.register_full_backward_pre_hook(lambda module, grad_output: None)
        module[1].register_forward_hook(doubled)
        module.register_state_dict_pre_hook(print)
        x = agrad.ones(2, requires_grad=True)
        y = module(x).sum()
        y.backward(retain_graph=True)
        refs = [weakref.ref(module), weakref.ref(module[0]), weakref.ref(module[0].weight)]
        del module, y
        assert [ref() for ref in refs] == [None] * 3
    finally:
        gc.enable()


def test_modules_run_on_every_backend(backend):
    module = nn.Sequential(Affine(2), Affine(2))
    module.zero_grad()
    y = module(agrad.asarray([1.0, 2.0]))
    agrad.sum(y).backward()
    np.testing.assert_allclose(values(y), [4.75, 7.0])
    np.testing.assert_allclose(values(module[0].weight.grad), [1.5, 3.0])


@pytest.mark.usefixtures("wide")
def test_to_another_backend_replaces_parameters_and_keeps_ties():
    module = nn.Sequential(Affine(2), Affine(2))
    module[1].weight = module[0].weight
    module(agrad.ones(2)).sum().backward()
    gradient, before = module[0].weight.grad.tolist(), module[0].weight
    assert module.to(backend="jax") is module
    weight = module[0].weight
    assert weight is module[1].weight is not before
    assert type(weight) is nn.Parameter
    assert weight.requires_grad
    assert {t.backend_.name for t in (*module.parameters(), *module.buffers())} == {"jax"}
    assert weight.grad.backend_.name == "jax"
    assert weight.grad.tolist() == gradient
    assert module(agrad.ones(2).to("jax")).backend_.name == "jax"


def test_parameters_are_plain_attributes():
    module = Affine(2)
    assert vars(module)["weight"] is module.weight
    with pytest.raises(TypeError, match=re.escape("cannot assign 'Tensor' as parameter 'weight'")):
        module.weight = agrad.ones(2)


@pytest.mark.parametrize("twin", [copy.deepcopy, copy.copy], ids=["deepcopy", "copy"])
def test_a_wrapper_that_hands_on_attributes_can_be_copied(twin):
    class Wrapper(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def __getattr__(self, name):
            return getattr(self.inner, name)

        def __setstate__(self, state):
            super().__setstate__(state)
            self.is_copy = True

    found = twin(Wrapper(nn.Linear(3, 2)))
    assert found.in_features == 3
    assert found.is_copy


def test_a_shallow_copy_has_the_same_parameters_and_its_own_parts():
    module = Affine(2)
    twin = copy.copy(module)
    assert twin.weight is module.weight
    twin.more = nn.Parameter(agrad.ones(1))
    del twin.shift
    assert names(module.named_parameters()) == ["weight"]
    assert names(module.named_buffers()) == ["shift"]
    assert names(twin.named_parameters()) == ["weight", "more"]


def test_parts_are_shown_as_torch_shows_them_but_not_written_there():
    module = nn.Sequential(Affine(2))
    assert list(module._modules) == ["0"]
    assert list(module[0]._parameters) == ["weight"]
    assert list(module[0]._buffers) == ["shift"]
    with pytest.raises(TypeError, match="does not support item assignment"):
        module._modules["0"] = Affine(2)


def test_checkpointing_a_module_gives_the_same_gradients():
    from agrad.utils.checkpoint import checkpoint

    module, x = nn.Sequential(Affine(2), Affine(2)), agrad.asarray([1.0, 2.0], requires_grad=True)
    (module(x) ** 3).sum().backward()
    expected = [p.grad.tolist() for p in module.parameters()]
    module.zero_grad()
    (checkpoint(module, x, use_reentrant=False) ** 3).sum().backward()
    assert [p.grad.tolist() for p in module.parameters()] == expected
