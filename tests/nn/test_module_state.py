"""state_dict and load_state_dict: the same programs with torch.nn and agrad.nn; weights in both directions."""

import copy

import numpy as np
import pytest
from array_libraries import values
from module_programs import linear, names, net, plain, point, said, then

import agrad
from agrad import nn


def loaded(m, change, strict=True, assign=False, make=net):
    """The answer of load_state_dict after a change of the state, and what the module is then."""
    module = make(m)
    state = {name: t.clone() + 1 for name, t in module.state_dict().items()}
    change(m, state)
    answer = said(lambda: module.load_state_dict(state, strict=strict, assign=assign))
    return [answer, module.state_dict()]


def with_extra_state(m):
    class Extra(linear(m)):
        extra = 5

        def get_extra_state(self):
            return [self.extra]

        def set_extra_state(self, state):
            (self.extra,) = state

    return Extra()


def renamed(module, state, prefix, metadata, strict, missing, unexpected, errors):
    """A hook for states of an older version."""
    for name in list(state):
        if name.startswith("old."):
            state[name.replace("old.", "first.")] = state.pop(name)


def hooked(m, kind, hook):
    module = net(m)
    getattr(module, f"register_{kind}")(hook)
    return module


def loaded_renamed(m):
    module = hooked(m, "load_state_dict_pre_hook", renamed)
    state = {name.replace("first.", "old."): t + 1 for name, t in module.state_dict().items()}
    return [module.load_state_dict(state), module.state_dict(), sorted(state)]


def loaded_partly(m):
    module = hooked(m, "load_state_dict_post_hook", lambda module, keys: (keys.missing_keys.clear(), None)[1])
    return [module.load_state_dict({"scale": m.ones(2, dtype=m.float64)}), module.scale]


CHANGES = {
    "none": lambda m, state: None,
    "a missing key": lambda m, state: state.pop("scale"),
    "missing and unexpected keys": lambda m, state: [
        state.pop("scale"), state.pop("first.weight"), state.update({"other.a.b": m.ones(1), "first.more": m.ones(1)})],
    "a wrong shape": lambda m, state: state.update({"first.weight": m.ones((3, 2))}),
    "everything wrong": lambda m, state: [
        state.pop("scale"), state.update({"a": m.ones(1), "first.bias": m.ones(3), "first.weight": m.ones((7, 2))})],
    "another dtype": lambda m, state: state.update({"scale": m.ones(2, dtype=m.float32)}),
    "integers": lambda m, state: state.update({"scale": m.ones(2, dtype=m.int32)}),
    "all keys missing": lambda m, state: state.clear(),
}
FITTING = ("none", "another dtype", "integers", "all keys missing")
STRICTLY_WRONG = ("a missing key", "missing and unexpected keys")
PROGRAMS = {
    **{f"loading, {name}{', not strict' * (not strict)}": lambda m, change=change, strict=strict: loaded(
        m, change, strict) for name, change in CHANGES.items() for strict in (True, False)
       # PyTorch has half loaded a state where something is wrong
       if name in FITTING or (name in STRICTLY_WRONG and not strict)},
    **{f"the error, {name}": lambda m, change=change: loaded(m, change)[0] for name, change in CHANGES.items()},
    **{f"the error, {name}, not strict": lambda m, change=change: loaded(m, change, strict=False)[0]
       for name, change in CHANGES.items()},
    "no dict": lambda m: net(m).load_state_dict(3),
    "assigned": lambda m: loaded(m, lambda m, state: state.update({"scale": m.ones(2, dtype=m.float32)}), assign=True),
    "an assigned parameter is a new one, and as frozen as the old": lambda m: (lambda module, before: then(
        lambda: module.requires_grad_(False).load_state_dict(
            {name: m.zeros(t.shape, dtype=m.float32) for name, t in module.state_dict().items()}, assign=True),
        lambda: module.scale is before, lambda: module.scale.requires_grad, lambda: type(module.scale).__name__,
        lambda: type(module.first.calls).__name__,
    ))(*(lambda module: (module, module.scale))(net(m))),
    "a loaded parameter stays itself": lambda m: (lambda module, before: then(
        lambda: module.load_state_dict(module.state_dict()), lambda: module.scale is before,
    ))(*(lambda module: (module, module.scale))(net(m))),
    "the answer": lambda m: repr(net(m).load_state_dict(net(m).state_dict())),
    "extra state": lambda m: with_extra_state(m).state_dict(),
    "extra state loaded": lambda m: (lambda module: then(
        lambda: module.load_state_dict({**module.state_dict(), "_extra_state": [7]}), lambda: module.extra,
    ))(with_extra_state(m)),
    "extra state missing": lambda m: (lambda module: module.load_state_dict(linear(m)().state_dict()))(
        with_extra_state(m)),
    "extra state unexpected": lambda m: linear(m)().load_state_dict(with_extra_state(m).state_dict()),
    "a hook renames keys in a copy": loaded_renamed,
    "a hook forgives missing keys": loaded_partly,
    "a hook after saving": lambda m: list(hooked(
        m, "state_dict_post_hook", lambda module, state, prefix, metadata: state.update({prefix + "more": 3}),
    ).state_dict(prefix="p.")),
    "a hook before saving": lambda m: (lambda seen: then(
        lambda: hooked(m, "state_dict_pre_hook", lambda module, prefix, keep_vars: seen.append((prefix, keep_vars)),
                       ).state_dict(prefix="p.", keep_vars=True), lambda: seen))([]),
    "a hook removed": lambda m: (lambda module: then(
        lambda: module.register_state_dict_pre_hook(lambda *args: 1 / 0).remove(), lambda: list(module.state_dict()),
    ))(net(m)),
    "state is detached, or the parameters": lambda m: [
        (t.requires_grad, type(t).__name__) for keep in (False, True)
        for t in net(m).state_dict(keep_vars=keep).values()],
}


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_states_are_saved_and_loaded_as_torchs(program):
    torch = pytest.importorskip("torch")
    expected = said(lambda: program(torch))
    assert said(lambda: program(agrad)) == expected


@pytest.mark.parametrize("change", [change for name, change in CHANGES.items() if "wrong" in name or "keys" in name])
def test_nothing_is_loaded_when_it_raises(change):
    module = net(agrad)
    answer, after = loaded(agrad, change)
    assert answer.startswith("RuntimeError: Error(s) in loading state_dict for Net:\n\t")
    assert plain(after) == plain(module.state_dict())


@pytest.mark.parametrize("fixed", ["read-only memory", "expanded memory", "an inference tensor"])
def test_nothing_is_loaded_when_some_memory_cannot_be_written(fixed):
    memory = np.zeros(2)
    memory.flags.writeable = False
    with agrad.inference_mode():
        unwritable = agrad.zeros(2)
    module = nn.Module()
    module.first = nn.Parameter(agrad.zeros(2))
    module.second = nn.Buffer({
        "read-only memory": agrad.asarray(memory), "expanded memory": agrad.zeros(1).expand(2),
        "an inference tensor": unwritable,
    }[fixed])
    with pytest.raises((RuntimeError, ValueError), match=r"read-only|single memory location|inference tensor"):
        module.load_state_dict({"first": np.ones(2), "second": np.ones(2)})
    assert module.first.tolist() == [0.0, 0.0]


def test_a_hook_after_loading_returns_nothing():
    module = hooked(agrad, "load_state_dict_post_hook", lambda module, keys: 3)
    with pytest.raises(RuntimeError, match="are not expected to return new values"):
        module.load_state_dict(module.state_dict())


def test_weights_move_to_torch_and_back():
    torch = pytest.importorskip("torch")
    ours, theirs = net(agrad), net(torch)
    with agrad.no_grad():
        for i, p in enumerate(ours.parameters()):
            p.add_(0.1 * i)
    theirs.load_state_dict({name: torch.asarray(t.numpy()) for name, t in ours.state_dict().items()})
    np.testing.assert_allclose(values(ours(point(agrad))), values(theirs(point(torch)).detach()), rtol=1e-13)
    with torch.no_grad():
        theirs.scale.mul_(3.0)
    for state in (theirs.state_dict(), {name: t.numpy() for name, t in theirs.state_dict().items()}):
        fresh = net(agrad)
        fresh.load_state_dict(state)
        assert fresh.scale.backend_.name == "numpy"
        np.testing.assert_allclose(values(fresh(point(agrad))), values(theirs(point(torch)).detach()), rtol=1e-13)


def model(m):
    """One of everything that holds parameters: text and pictures to classes."""

    class Model(m.nn.Module):
        def __init__(self):
            super().__init__()
            self.pictures = m.nn.Sequential(
                m.nn.Conv2d(1, 4, 3, padding=1), m.nn.BatchNorm2d(4), m.nn.ReLU(), m.nn.MaxPool2d(2),
                m.nn.Conv2d(4, 6, 3, groups=2, bias=False), m.nn.GroupNorm(3, 6), m.nn.Flatten(),
            )
            self.words = m.nn.Embedding(11, 8, padding_idx=0)
            self.memory = m.nn.LSTM(8, 5, num_layers=2, bidirectional=True, batch_first=True)
            self.look = m.nn.MultiheadAttention(10, 2, batch_first=True)
            self.norm = m.nn.LayerNorm(10)
            self.mix = m.nn.Bilinear(6, 10, 7)
            self.last = m.nn.ModuleDict({"a": m.nn.Linear(7, 3), "b": m.nn.PReLU()})

        def forward(self, picture, text):
            states, _ = self.memory(self.words(text))
            seen, _ = self.look(states, states, states)
            mixed = self.mix(self.pictures(picture), self.norm(seen)[:, -1])
            return self.last["a"](self.last["b"](mixed))

    return Model()


def test_a_whole_model_moves_to_torch_and_back():
    torch = pytest.importorskip("torch")
    agrad.manual_seed(0)
    ours, theirs = model(agrad), model(torch).double()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert names(ours.named_parameters()) == names(theirs.named_parameters())
    assert names(ours.named_buffers()) == names(theirs.named_buffers())
    shapes = [[tuple(t.shape) for t in net.state_dict().values()] for net in (ours, theirs)]
    assert shapes[0] == shapes[1]
    draw = np.random.default_rng(0)
    picture, text = draw.standard_normal((3, 1, 6, 6)), draw.integers(0, 11, (3, 4))

    def run(m, net):
        result = net(m.asarray(picture), m.asarray(text))
        net.zero_grad()
        (result**2).sum().backward()
        found = {name: values(p.grad) for name, p in net.named_parameters()}
        return found | {"result": values(result.detach())} | {name: values(t) for name, t in net.named_buffers()}

    def compare():
        found, expected = run(agrad, ours), run(torch, theirs)
        assert list(found) == list(expected)
        for name, value in found.items():
            np.testing.assert_allclose(value, expected[name], rtol=1e-8, atol=1e-10, err_msg=name)

    ours.load_state_dict(theirs.state_dict())
    compare()
    with agrad.no_grad():
        for p in ours.parameters():
            p.mul_(0.9)
    theirs.load_state_dict({name: torch.asarray(t.numpy()) for name, t in ours.state_dict().items()})
    ours.eval()
    theirs.eval()
    compare()
    assert repr(ours) == repr(theirs).replace("NonDynamicallyQuantizable", "")


def test_a_whole_model_survives_deepcopy_pickle_casts_and_another_backend():
    agrad.manual_seed(0)
    net = model(agrad).eval()
    picture, text = agrad.rand(3, 1, 6, 6), agrad.random.randint(0, 11, (3, 4))
    expected = values(net(picture, text).detach())
    net.norm.register_forward_hook(print, with_kwargs=True).remove()
    for twin in (copy.deepcopy(net), copy.deepcopy(net.float()).double(), net.double()):
        np.testing.assert_allclose(values(twin(picture, text).detach()), expected, rtol=1e-4)
    pytest.importorskip("torch")
    found = net.to("torch")(picture.to("torch"), text.to("torch"))
    assert found.backend_.name == "torch"
    np.testing.assert_allclose(values(found.detach()), expected, rtol=1e-4)


def test_values_may_be_anything_that_becomes_an_array():
    module = nn.Module()
    module.weight = nn.Parameter(agrad.zeros(2))
    for value in ([1.0, 2.0], (1, 2), np.asarray([1, 2]), agrad.asarray([1.0, 2.0], dtype=agrad.float32)):
        module.zero = module.load_state_dict({"weight": value})
        assert module.weight.tolist() == [1.0, 2.0]
        assert module.weight.dtype == agrad.float64
    for value in ("text", None, object(), [1j, 2.0]):
        with pytest.raises(RuntimeError, match='While copying the parameter named "weight", expected an array'):
            module.load_state_dict({"weight": value})
    assert module.weight.tolist() == [1.0, 2.0]


def test_loading_goes_on_with_the_same_memory(backend):
    module = nn.Module()
    module.weight = nn.Parameter(agrad.zeros(2))
    if backend == "sparse":     # its arrays cannot be written: assigned, they can be loaded
        module.load_state_dict({"weight": agrad.asarray([1.0, 2.0])}, assign=True)
    else:
        parameter = module.weight
        state = module.state_dict()
        module.load_state_dict({"weight": np.asarray([1.0, 2.0])})
        assert module.weight is parameter
        np.testing.assert_allclose(values(state["weight"]), [1.0, 2.0])
    np.testing.assert_allclose(values(module.weight), [1.0, 2.0])
    assert module.weight.backend_.name == backend
    assert names(module.named_parameters()) == ["weight"]
