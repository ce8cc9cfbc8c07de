"""What every optimizer promises beside its numbers: groups, states, hooks, versions, backends, errors that say why."""

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from array_libraries import values
from optimizer_table import IDS, TABLE

import agrad
from agrad import optim
from agrad.optim import SGD, Adam, Optimizer, elementwise

NAMES = ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adadelta", "Adamax", "NAdam", "RAdam"]
OTHERS = ["jax", "dask", "sparse"]


def parameter(*numbers: float, **options: Any) -> agrad.Tensor:
    return agrad.tensor(list(numbers), requires_grad=True, **options)


def train(optimizer: Any, parameters: list[Any], steps: int = 3) -> None:
    """Steps on a bowl."""
    for _ in range(steps):
        optimizer.zero_grad()
        sum(((p - 1.0) ** 2).sum() for p in parameters).backward()
        optimizer.step()


# ---- backends


@pytest.mark.parametrize(("name", "options"), TABLE, ids=IDS)
def test_every_backend_gives_the_same_numbers(backend: str, name: str, options: dict[str, Any]) -> None:
    start = np.linspace(-2.0, 2.0, 6).reshape(2, 3)

    def run() -> list[np.ndarray]:
        parameters = [agrad.tensor(array, requires_grad=True) for array in (start, np.array(0.5))]
        train(getattr(optim, name)(parameters, **options), parameters)
        assert all(p.backend_.name == agrad.get_default_backend() for p in parameters)
        return [values(p) for p in parameters]

    found = run()
    with agrad.use_backend("numpy"):
        expected = run()
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("name", [*NAMES, "LBFGS"])
def test_every_backend_trains_complex_numbers(backend: str, name: str) -> None:
    def run() -> tuple[np.ndarray, np.ndarray]:
        z = agrad.tensor(np.array([1.0 + 2.0j, -0.5j]), requires_grad=True)
        x = agrad.tensor(np.array([0.5, 2.0]), requires_grad=True)
        optimizer = getattr(optim, name)([z, x], lr=0.1)

        def closure() -> Any:
            optimizer.zero_grad()
            loss = (abs(z - 1.0 + 1.0j) ** 2).sum() + (abs(z * x) ** 2).sum()
            loss.backward()
            return loss

        for _ in range(3):
            optimizer.step(closure)
        return values(z), values(x)

    found = run()
    with agrad.use_backend("numpy"):
        expected = run()
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


@pytest.mark.usefixtures("wide")
@pytest.mark.parametrize("library", OTHERS)
@pytest.mark.parametrize("name", [*NAMES, "LBFGS"])
def test_immutable_arrays_are_replaced(library: str, name: str) -> None:
    pytest.importorskip(library)
    with agrad.use_backend(library):
        p = agrad.tensor(np.array([3.0, -2.0]), requires_grad=True)
        twin = p.detach()
        optimizer = getattr(optim, name)([p], lr=0.1)

        def closure() -> Any:
            optimizer.zero_grad()
            loss = ((p - 1.0) ** 2).sum()
            loss.backward()
            return loss

        optimizer.step(closure)
    assert p.backend_.name == library
    assert p.is_leaf
    assert p.requires_grad
    found = values(p)
    np.testing.assert_array_equal(values(twin), found)
    q = parameter(3.0, -2.0)
    optimizer = getattr(optim, name)([q], lr=0.1)

    def closure_there() -> Any:
        optimizer.zero_grad()
        loss = ((q - 1.0) ** 2).sum()
        loss.backward()
        return loss

    optimizer.step(closure_there)
    np.testing.assert_allclose(found, values(q), rtol=1e-12)


@pytest.mark.parametrize("name", ["Adam", "LBFGS"])
def test_lazy_arrays_do_not_remember_all_steps(name: str) -> None:
    pytest.importorskip("dask")
    with agrad.use_backend("dask"):
        p = agrad.tensor(np.array([3.0, -2.0]), requires_grad=True)
        optimizer = getattr(optim, name)([p], lr=0.1, **({"max_iter": 2} if name == "LBFGS" else {}))

        def closure() -> Any:
            optimizer.zero_grad()
            loss = ((p - 1.0) ** 4).sum()
            loss.backward()
            return loss

        for _ in range(5):
            optimizer.step(closure)
    kept = [value for value in optimizer.state[p].values() if isinstance(value, agrad.Tensor) and value.shape]
    assert all(len(t.array.__dask_graph__()) <= 1 for t in (p, *kept))


def test_parameters_of_several_backends_are_trained_together() -> None:
    pytest.importorskip("torch")
    pytest.importorskip("jax")
    parameters = [agrad.tensor([2.0, 3.0], dtype=agrad.float32, requires_grad=True)]
    for library in ("torch", "jax"):
        with agrad.use_backend(library):
            parameters.append(agrad.tensor([2.0, 3.0], dtype=agrad.float32, requires_grad=True))
    optimizer = Adam(parameters, lr=0.1)
    for p in parameters:
        ((p - 1.0) ** 2).sum().backward()
    optimizer.step()
    for p in parameters:
        np.testing.assert_allclose(values(p), [1.9, 2.9], rtol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_single_precision_stays_single(backend: str, name: str) -> None:
    p = agrad.tensor([1.0, 2.0], dtype=agrad.float32, requires_grad=True)
    optimizer = getattr(optim, name)([p], **({"momentum": 0.9} if name in ("SGD", "RMSprop") else {}))
    train(optimizer, [p])
    assert p.dtype == agrad.float32
    buffers = [value for key, value in optimizer.state[p].items() if key not in ("step", "mu_product")]
    assert buffers
    assert all(buffer.dtype == agrad.float32 and not buffer.requires_grad for buffer in buffers)


# ---- memory


@pytest.mark.parametrize("name", NAMES)
def test_a_step_writes_into_the_parameters_memory(name: str) -> None:
    array = np.array([1.0, 2.0])
    p = agrad.from_numpy(array).requires_grad_()
    optimizer = getattr(optim, name)([p], lr=0.5)
    p.grad = agrad.tensor([1.0, -1.0])
    gradient = p.grad.array
    optimizer.step()
    assert p.array is array
    assert not np.array_equal(array, [1.0, 2.0])
    kept = {key: value.array for key, value in optimizer.state[p].items() if value.shape}
    optimizer.step()
    assert all(optimizer.state[p][key].array is value for key, value in kept.items())
    assert p.grad.array is gradient
    np.testing.assert_array_equal(gradient, [1.0, -1.0])


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_read_only_for_a_step(backend: str, name: str) -> None:
    p = parameter(1.0, 2.0)
    optimizer = getattr(optim, name)([p], lr=0.5, weight_decay=0.1, maximize=True)
    p.grad = agrad.tensor([1.0, -1.0])
    version = p.grad._version
    for _ in range(2):
        optimizer.step()
    np.testing.assert_array_equal(values(p.grad), [1.0, -1.0])
    assert p.grad._version == version


@pytest.mark.parametrize("name", ["SGD", "Adam"])
def test_a_large_parameter_needs_no_memory_of_its_size(name: str) -> None:
    import tracemalloc

    p = agrad.tensor(np.ones(2_000_000), requires_grad=True)
    p.grad = agrad.tensor(np.ones(2_000_000))
    optimizer = getattr(optim, name)([p], weight_decay=0.1)
    optimizer.step()
    tracemalloc.start()
    optimizer.step()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * 2_000_000 / 10


def test_blocks_need_the_memory_of_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    import tracemalloc

    p = agrad.tensor(np.ones(4_000_000), requires_grad=True)
    p.grad = agrad.tensor(np.ones(4_000_000))
    monkeypatch.setattr(elementwise, "BLOCK", 2**16)
    monkeypatch.setattr(type(p.backend_), "updates", {})
    optimizer = Adam([p])
    optimizer.step()
    tracemalloc.start()
    optimizer.step()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 12 * 8 * 2**16


# ---- versions


@pytest.mark.parametrize("name", NAMES)
def test_a_step_between_two_walks_is_detected(backend: str, name: str) -> None:
    p = parameter(1.0, 2.0)
    optimizer = getattr(optim, name)([p], lr=0.1)
    loss = (p * p).sum()
    version = p._version
    loss.backward(retain_graph=True)
    optimizer.step()
    assert p._version == version + 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize("name", NAMES)
def test_saved_values_may_be_kept_as_they_were(backend: str, name: str) -> None:
    with agrad.autograd.graph.allow_mutation_on_saved_tensors():
        p = parameter(1.0, 2.0)
        optimizer = getattr(optim, name)([p], lr=0.1)
        loss = (p * p).sum()
        loss.backward(retain_graph=True)
        optimizer.step()
        p.grad = None
        loss.backward()
    np.testing.assert_array_equal(values(p.grad), [2.0, 4.0])


def test_the_state_counts_writes_too() -> None:
    p = parameter(1.0)
    optimizer = Adam([p])
    train(optimizer, [p], 1)
    buffer = optimizer.state[p]["exp_avg"]
    version = buffer._version
    train(optimizer, [p], 1)
    assert buffer._version == version + 1


# ---- which parameters


def test_parameters_without_gradient_are_left_alone() -> None:
    p, q = parameter(1.0), parameter(2.0)
    optimizer = Adam([p, q], weight_decay=0.5)
    p.grad = agrad.tensor([1.0])
    optimizer.step()
    assert values(q) == [2.0]
    assert optimizer.state[p]["step"].item() == 1
    assert q not in optimizer.state
    q.grad = agrad.tensor([1.0])
    optimizer.step()
    assert (optimizer.state[p]["step"].item(), optimizer.state[q]["step"].item()) == (2, 1)
    assert values(q) == pytest.approx([1.999], rel=1e-9)


def test_groups_have_options_of_their_own() -> None:
    p, q, r = parameter(1.0), parameter(1.0), parameter(1.0)
    optimizer = SGD([{"params": p, "lr": 0.5}, {"params": [q]}], lr=0.1)
    optimizer.add_param_group({"params": (t for t in [r]), "lr": 0.25, "name": "third"})
    for t in (p, q, r):
        t.grad = agrad.tensor([1.0])
    optimizer.step()
    assert [values(t)[0] for t in (p, q, r)] == [0.5, 0.9, 0.75]
    assert optimizer.param_groups[2]["name"] == "third"
    assert optimizer.param_groups[2]["momentum"] == 0


def test_named_parameters_keep_their_names() -> None:
    optimizer = SGD([("weight", parameter(1.0)), ("bias", parameter(2.0))])
    assert optimizer.param_groups[0]["param_names"] == ["weight", "bias"]
    state = optimizer.state_dict()
    assert state["param_groups"][0]["param_names"] == ["weight", "bias"]
    other = SGD([("a", parameter(1.0)), ("b", parameter(2.0))])
    other.load_state_dict(state)
    assert other.param_groups[0]["param_names"] == ["weight", "bias"]
    with pytest.raises(ValueError, match="cannot add param group without names"):
        optimizer.add_param_group({"params": [parameter(1.0)]})


def test_a_learning_rate_may_be_a_tensor() -> None:
    p = parameter(1.0)
    optimizer = SGD([p], lr=agrad.tensor(0.5))
    scheduler = optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    p.grad = agrad.tensor([1.0])
    optimizer.step()
    scheduler.step()
    optimizer.step()
    assert values(p) == [0.25]


def test_a_group_given_by_the_user_is_not_changed() -> None:
    group = {"params": parameter(1.0)}
    SGD([group], lr=0.3)
    assert list(group) == ["params"]


def test_zero_grad() -> None:
    p, q = parameter(1.0), parameter(2.0)
    optimizer = SGD([p, q])
    p.grad = agrad.tensor([1.0])
    kept = p.grad
    optimizer.zero_grad(set_to_none=False)
    assert p.grad is kept
    assert values(p.grad) == [0.0]
    assert q.grad is None
    optimizer.zero_grad()
    assert p.grad is None


def test_zero_grad_frees_the_graph_of_a_gradient() -> None:
    p = parameter(1.0)
    (p.grad,) = agrad.autograd.grad((p**3).sum(), p, create_graph=True)
    assert p.grad.requires_grad
    SGD([p]).zero_grad(set_to_none=False)
    assert not p.grad.requires_grad
    assert values(p.grad) == [0.0]


# ---- closures, hooks, modes


@pytest.mark.parametrize("name", [*NAMES, "LBFGS"])
def test_a_closure_is_called_where_gradients_are_recorded(name: str) -> None:
    p = parameter(1.0)
    optimizer = getattr(optim, name)([p], lr=0.1)

    def closure() -> agrad.Tensor:
        assert agrad.is_grad_enabled()
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    with agrad.no_grad():
        assert optimizer.step(closure).item() == 1.0
        assert not agrad.is_grad_enabled()
    assert p.requires_grad
    assert p.is_leaf
    assert values(p) != [1.0]


def test_an_error_in_a_closure_leaves_modes_as_they_were() -> None:
    def fail() -> None:
        raise KeyError("no data")

    for optimizer in (SGD([parameter(1.0)]), optim.LBFGS([parameter(1.0)])):
        with pytest.raises(KeyError, match="no data"):
            optimizer.step(fail)
        assert agrad.is_grad_enabled()


def test_hooks_run_around_a_step_until_they_are_removed() -> None:
    p = parameter(1.0)
    optimizer = SGD([p], lr=1.0)
    p.grad = agrad.tensor([1.0])
    seen: list[Any] = []
    before = optimizer.register_step_pre_hook(lambda _, args, __: seen.append(("before", values(p)[0], len(args))))
    after = optimizer.register_step_post_hook(lambda _, args, __: seen.append(("after", values(p)[0], len(args))))
    assert optimizer.step(lambda: 7) == 7
    assert seen == [("before", 1.0, 1), ("after", 0.0, 1)]
    before.remove()
    after.remove()
    optimizer.step()
    assert len(seen) == 2


def test_a_hook_may_replace_the_arguments() -> None:
    optimizer = SGD([parameter(1.0)])
    optimizer.register_step_pre_hook(lambda o, args, kwargs: ((lambda: 3,), {}))
    assert optimizer.step(lambda: 7) == 3
    optimizer.register_step_pre_hook(lambda o, args, kwargs: 3)     # type: ignore[arg-type, return-value]
    with pytest.raises(RuntimeError, match="must return None or"):
        optimizer.step()


def test_an_optimizer_of_ones_own() -> None:
    """The base class is enough for an algorithm that only has a `step`."""
    class SignDescent(Optimizer):
        def __init__(self, params: Any, lr: float = 0.1) -> None:
            super().__init__(params, {"lr": lr})

        def step(self, closure: Any = None) -> None:
            with agrad.no_grad():
                for group in self.param_groups:
                    for p in group["params"]:
                        p -= group["lr"] * agrad.sign(p.grad)

    p = parameter(1.0, -2.0)
    optimizer = SignDescent([p])
    steps: list[int] = []
    optimizer.register_step_post_hook(lambda *_: steps.append(1))
    (p * p).sum().backward()
    optimizer.step()
    assert values(p) == pytest.approx([0.9, -1.9])
    assert steps == [1]
    with pytest.raises(NotImplementedError):
        Optimizer([p], {}).step()


# ---- states


@pytest.mark.parametrize(("name", "options"), TABLE, ids=IDS)
def test_training_goes_on_from_a_saved_state(name: str, options: dict[str, Any]) -> None:
    parameters = [parameter(2.0, -1.0), parameter(0.3)]
    optimizer = getattr(optim, name)(parameters, **options)
    train(optimizer, parameters)
    saved = copy.deepcopy((optimizer.state_dict(), [values(p) for p in parameters]))
    train(optimizer, parameters)
    others = [agrad.tensor(array, requires_grad=True) for array in saved[1]]
    again = getattr(optim, name)(others)
    again.load_state_dict(saved[0])
    train(again, others)
    for a, b in zip(parameters, others, strict=True):
        np.testing.assert_array_equal(values(a), values(b))


def to_torch(value: Any, torch: Any) -> Any:
    """A state with torch's tensors in the place of agrad's."""
    if isinstance(value, agrad.Tensor):
        return torch.tensor(values(value))
    if isinstance(value, dict):
        return {key: to_torch(item, torch) for key, item in value.items()}
    return [to_torch(item, torch) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize(("name", "options"), [*TABLE, ("LBFGS", {"max_iter": 3}),
                                               ("LBFGS", {"max_iter": 3, "line_search_fn": "strong_wolfe"})])
def test_states_move_to_pytorch_and_back(name: str, options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    torch.set_default_dtype(torch.float64)
    try:
        self_made: dict[str, Any] = {}
        for library in ("agrad", "torch"):
            module: Any = agrad if library == "agrad" else torch
            p = module.tensor(np.array([2.0, -1.0, 0.5]), requires_grad=True)
            self_made[library] = (p, getattr(module.optim, name)([p], **options))
        (p, ours), (q, theirs) = self_made.values()
        go_on(ours, p, 3)
        theirs.load_state_dict(to_torch(ours.state_dict(), torch))
        q.data.copy_(torch.tensor(values(p)))
        go_on(ours, p, 2)
        go_on(theirs, q, 2)
        np.testing.assert_allclose(values(p), q.detach().numpy(), rtol=1e-12)
        keys = {key for key in theirs.state[q] if key != "al"}     # scratch memory of LBFGS
        assert keys == set(ours.state[p])
        ours.load_state_dict(theirs.state_dict())
        assert set(ours.param_groups[0]) == {*ours.defaults, "params"}
        go_on(ours, p, 2)
        go_on(theirs, q, 2)
        np.testing.assert_allclose(values(p), q.detach().numpy(), rtol=1e-12)
    finally:
        torch.set_default_dtype(torch.float32)


def go_on(optimizer: Any, p: Any, steps: int) -> None:
    def closure() -> Any:
        optimizer.zero_grad()
        loss = ((p - 1.0) ** 4).sum()
        loss.backward()
        return loss

    for _ in range(steps):
        optimizer.step(closure)


def test_a_loaded_state_shares_no_memory() -> None:
    p, q = parameter(3.0), parameter(3.0)
    first, second = Adam([p]), Adam([q])
    train(first, [p])
    second.load_state_dict(first.state_dict())
    train(first, [p])
    assert second.state[q]["step"].item() == 3
    assert first.state[p]["exp_avg"].item() != second.state[q]["exp_avg"].item()


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda optimizer: pickle.loads(pickle.dumps(optimizer))])
def test_an_optimizer_is_copied_with_its_parameters(copied: Any) -> None:
    p = parameter(1.0, 2.0)
    optimizer = Adam([p], lr=0.1)
    train(optimizer, [p])
    other = copied(optimizer)
    (q,) = other.param_groups[0]["params"]
    train(optimizer, [p])
    assert values(q).tolist() != values(p).tolist()
    train(other, [q])
    np.testing.assert_array_equal(values(q), values(p))


def test_a_state_follows_its_parameter_to_another_backend_and_dtype(backend: str) -> None:
    with agrad.use_backend("numpy"):
        p = parameter(1.0, 2.0)
        first = Adam([p])
        train(first, [p])
    q = agrad.tensor([1.0, 2.0], dtype=agrad.float32, requires_grad=True)
    second = Adam([q])
    second.load_state_dict(first.state_dict())
    moved = second.state[q]["exp_avg"]
    assert moved.backend_.name == backend
    assert moved.dtype == agrad.float32
    np.testing.assert_allclose(values(moved), values(first.state[p]["exp_avg"]), rtol=1e-6)
    train(second, [q])


def test_a_state_is_numbered_in_the_order_of_the_groups() -> None:
    p, q, r = parameter(1.0), parameter(2.0), parameter(3.0)
    optimizer = SGD([{"params": [p]}, {"params": [q, r], "lr": 0.5}], momentum=0.9)
    r.grad = agrad.tensor([1.0])
    optimizer.step()
    state = optimizer.state_dict()
    assert [group["params"] for group in state["param_groups"]] == [[0], [1, 2]]
    assert list(state["state"]) == [2]
    assert state["param_groups"][1] == {
        "lr": 0.5, "momentum": 0.9, "dampening": 0, "weight_decay": 0, "nesterov": False, "maximize": False,
        "params": [1, 2],
    }


BAD_STATES = [
    ({"state": {}}, "not the state_dict of an optimizer: it has no 'param_groups'"),
    ({"weight": 1}, "it has no 'state' and no 'param_groups'"),
    ({"state": {}, "param_groups": []}, "different number of parameter groups"),
    ({"state": {}, "param_groups": [{"params": [0, 1]}]}, "doesn't match the size of optimizer's group"),
    ({"state": {0: {"exp_avg": np.ones(3)}}, "param_groups": [{"params": [0]}]},
     r"'exp_avg' of shape \(3,\) for a parameter of shape \(2,\)"),
]


@pytest.mark.parametrize(("state", "message"), BAD_STATES, ids=[message for _, message in BAD_STATES])
def test_a_state_that_does_not_fit_changes_nothing(state: dict[str, Any], message: str) -> None:
    p = parameter(1.0, 2.0)
    optimizer = Adam([p])
    train(optimizer, [p])
    before = copy.deepcopy(optimizer.state_dict())
    with pytest.raises(ValueError, match=message):
        optimizer.load_state_dict(state)
    after = optimizer.state_dict()
    assert after["param_groups"] == before["param_groups"]
    for name, value in before["state"][0].items():
        assert after["state"][0][name].tolist() == value.tolist()


def test_adamw_stays_adamw() -> None:
    optimizer = optim.AdamW([parameter(1.0)])
    optimizer.load_state_dict(Adam([parameter(1.0)]).state_dict())
    assert optimizer.param_groups[0]["decoupled_weight_decay"] is True


def test_an_old_momentum_of_none_starts_anew() -> None:
    p = parameter(1.0)
    optimizer = SGD([p], lr=0.5, momentum=0.9)
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": {0: {"momentum_buffer": None}}, "param_groups": groups})
    p.grad = agrad.tensor([1.0])
    optimizer.step()
    assert values(p) == [0.5]


def test_repr_is_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    ours = repr(Adam([{"params": [parameter(1.0)], "lr": 0.5}, {"params": [parameter(1.0)]}]))
    theirs = repr(torch.optim.Adam([{"params": [torch.ones(1)], "lr": 0.5}, {"params": [torch.zeros(1)]}]))
    left_out = ("foreach", "fused", "capturable", "differentiable")
    assert ours == "\n".join(line for line in theirs.split("\n") if not line.strip().startswith(left_out))


# ---- bad input

w = parameter(1.0)
REFUSED: list[tuple[type[Exception], str, Any]] = [
    (ValueError, "empty parameter list", lambda: SGD([])),
    (TypeError, "should be an iterable of Tensors or dicts, but got Tensor", lambda: SGD(w)),
    (TypeError, "ordered collections", lambda: SGD({w})),
    (TypeError, "ordered collections", lambda: SGD([{"params": {w}}])),
    (TypeError, "can only optimize Tensors, but one of the params is float", lambda: SGD([1.0])),
    (TypeError, "param_group must be a dict", lambda: SGD([w]).add_param_group([w])),   # type: ignore[arg-type]
    (ValueError, "can't optimize a non-leaf Tensor", lambda: SGD([w * 2])),
    (ValueError, r"can't optimize a Tensor of agrad\.int64: parameters must be floating point or complex",
     lambda: SGD([agrad.tensor([1, 2])])),
    (ValueError, "duplicate parameters", lambda: SGD([w, w])),
    (ValueError, "more than one parameter group", lambda: SGD([{"params": [w]}, {"params": [w]}])),
    (ValueError, "Some param names are missing", lambda: SGD([("a", w), parameter(2.0)])),
    (ValueError, "Invalid learning rate: -1", lambda: SGD([w], lr=-1)),
    (ValueError, "Invalid learning rate: nan", lambda: SGD([w], lr=float("nan"))),
    (ValueError, "Invalid momentum value: -1", lambda: SGD([w], momentum=-1)),
    (ValueError, "Invalid weight_decay value: -1", lambda: SGD([w], weight_decay=-1)),
    (ValueError, "Nesterov momentum requires a momentum and zero dampening", lambda: SGD([w], nesterov=True)),
    (ValueError, "zero dampening", lambda: SGD([w], momentum=0.9, dampening=0.1, nesterov=True)),
    (ValueError, "Invalid learning rate: -1", lambda: Adam([w], lr=-1)),
    (ValueError, "Invalid epsilon value: -1", lambda: Adam([w], eps=-1)),
    (ValueError, "Invalid beta parameter at index 0: 1.0", lambda: Adam([w], betas=(1.0, 0.9))),
    (ValueError, "Invalid beta parameter at index 1: -0.1", lambda: Adam([w], betas=(0.9, -0.1))),
    (ValueError, "Invalid weight_decay value: -1", lambda: optim.AdamW([w], weight_decay=-1)),
    (ValueError, "Invalid alpha value: -1", lambda: optim.RMSprop([w], alpha=-1)),
    (ValueError, "Invalid momentum value: -1", lambda: optim.RMSprop([w], momentum=-1)),
    (ValueError, "Invalid lr_decay value: -1", lambda: optim.Adagrad([w], lr_decay=-1)),
    (ValueError, "Invalid initial_accumulator_value value: -1",
     lambda: optim.Adagrad([w], initial_accumulator_value=-1)),
    (ValueError, "Invalid rho value: 1.5", lambda: optim.Adadelta([w], rho=1.5)),
    (ValueError, "Invalid beta parameter at index 0", lambda: optim.Adamax([w], betas=(1.0, 0.9))),
    (ValueError, "Invalid momentum_decay value: -1", lambda: optim.NAdam([w], momentum_decay=-1)),
    (ValueError, "Invalid epsilon value: -1", lambda: optim.RAdam([w], eps=-1)),
    (ValueError, "Invalid learning rate: -1", lambda: optim.LBFGS([w], lr=-1)),
    (ValueError, "doesn't support per-parameter options",
     lambda: optim.LBFGS([{"params": [w]}, {"params": [parameter(1.0)]}])),
    (RuntimeError, "only 'strong_wolfe' is supported", lambda: optim.LBFGS([w], line_search_fn="armijo")),
    (TypeError, "needs a closure", lambda: optim.LBFGS([w]).step()),
    (TypeError, "foreach", lambda: Adam([w], foreach=True)),    # type: ignore[call-arg]
]


@pytest.mark.parametrize(("error", "message", "make"), REFUSED, ids=[f"{i}-{row[1]}" for i, row in enumerate(REFUSED)])
def test_bad_input_is_refused(error: type[Exception], message: str, make: Any) -> None:
    with pytest.raises(error, match=message):
        make()


def test_a_refused_group_is_not_added() -> None:
    optimizer = SGD([w])
    with pytest.raises(ValueError, match="more than one"):
        optimizer.add_param_group({"params": [parameter(1.0), w]})
    assert len(optimizer.param_groups) == 1


def test_frozen_and_retaining_tensors_are_accepted() -> None:
    frozen, kept = agrad.tensor([1.0]), parameter(1.0) * 2
    kept.retain_grad()
    optimizer = SGD([frozen, kept], lr=1.0)
    kept.sum().backward()
    optimizer.step()
    assert (values(frozen)[0], values(kept)[0]) == (1.0, 1.0)
