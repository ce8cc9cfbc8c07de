"""Grad modes, anomaly mode, threads: sections L and N of the contract."""

import threading


def leaf(torch, *values):
    return torch.tensor(list(values) or [1.0, 2.0], requires_grad=True)


def nested_modes(torch, see):
    t = leaf(torch)
    with torch.no_grad():
        see((t * 2).requires_grad, torch.is_grad_enabled())
        with torch.enable_grad():
            see((t * 2).requires_grad)
            with torch.set_grad_enabled(False):
                see((t * 2).requires_grad)
            see((t * 2).requires_grad)
        see((t * 2).requires_grad)
    see((t * 2).requires_grad)


def modes_after_errors(torch, see):
    for mode in (torch.no_grad, torch.inference_mode, lambda: torch.set_grad_enabled(False)):
        with see.error(), mode():
            raise KeyError
        see(torch.is_grad_enabled(), torch.is_inference_mode_enabled())


def modes_as_decorators(torch, see):
    t = leaf(torch)

    @torch.no_grad()
    def one(x):
        return (x * 2).requires_grad

    @torch.no_grad
    def two(x):
        return (x * 2).requires_grad

    @torch.enable_grad()
    def three(x):
        return (x * 2).requires_grad

    see(one(t), two(t), three(t), one.__name__)
    with torch.no_grad():
        see(three(t))
    see(torch.is_grad_enabled())


def decorated_generators(torch, see):
    t = leaf(torch)

    @torch.no_grad()
    def steps():
        for _ in range(2):
            got = yield (t * 2).requires_grad
            see("sent", got, torch.is_grad_enabled())
        return 5

    generator = steps()
    see(next(generator), torch.is_grad_enabled())
    see(generator.send("a"), torch.is_grad_enabled())
    with see.error():
        generator.send("b")
    see(torch.is_grad_enabled())


def a_generator_that_is_thrown_into(torch, see):
    @torch.no_grad()
    def steps():
        try:
            yield 1
        except KeyError:
            see("caught", torch.is_grad_enabled())
            yield 2

    generator = steps()
    see(next(generator), generator.throw(KeyError("x")), torch.is_grad_enabled())
    generator.close()


def decorated_classes(torch, see):
    with see.warned():

        @torch.no_grad()
        class Model:
            def __init__(self):
                see(torch.is_grad_enabled())

        Model()


def a_mode_set_by_a_call(torch, see):
    torch.set_grad_enabled(False)
    see((leaf(torch) * 2).requires_grad)
    torch.set_grad_enabled(True)
    see((leaf(torch) * 2).requires_grad)


def results_in_no_grad(torch, see):
    t = leaf(torch)
    with torch.no_grad():
        y = t * 2
        made = torch.ones(2, requires_grad=True)
    see.whole(y, made)
    (y * t).sum().backward()
    see.grads(t)


def modes_of_threads(torch, see):
    found = []
    with torch.no_grad():
        thread = threading.Thread(target=lambda: found.append(torch.is_grad_enabled()))
        thread.start()
        thread.join()
    see(found)


def walks_in_threads(torch, see):
    t = leaf(torch)
    threads = [threading.Thread(target=lambda i=i: (t * i).sum().backward()) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    see.grads(t)


def inference_results(torch, see):
    t = leaf(torch)
    with torch.inference_mode():
        y = t * 2
        see(y.is_inference(), y.requires_grad, torch.is_inference_mode_enabled(), torch.is_grad_enabled())
        with torch.enable_grad():
            see((t * 2).requires_grad)
        y.add_(1)
    see(y, y.is_inference(), t.is_inference(), (y * 2).is_inference())
    with see.error(text=True):
        y._version  # noqa: B018


def inference_results_outside(torch, see):
    with torch.inference_mode():
        y = torch.ones(2)
    with see.error(text=True):
        leaf(torch) * y
    with see.error(text=True):
        y.requires_grad_()
    see(y.clone().is_inference(), y[:1].is_inference(), (leaf(torch) + y).requires_grad)
    c = y.clone()
    c.add_(1)
    (leaf(torch) * c).sum().backward()
    see(c)
    with see.error(text=True):
        y.add_(1)


def inference_mode_turned_off(torch, see):
    t = leaf(torch)
    with torch.inference_mode():
        with torch.inference_mode(False):
            see((t * 2).requires_grad, (t * 2).is_inference())
        see((t * 2).is_inference())
    with torch.inference_mode(False):
        see((t * 2).requires_grad)


def normal_tensors_in_inference_mode(torch, see):
    x, t = torch.ones(2), leaf(torch)
    with torch.inference_mode():
        x.add_(1)
        view = x[:1]
        t.mul_(2)
    see(x, x._version, t, t._version, view.is_inference())


def anomalies(torch, see):
    t = torch.tensor([0.0, 1.0], requires_grad=True)
    with see.warned(), torch.autograd.detect_anomaly():
        y = t.sqrt() * 0
        with see.error(text=True):
            y.sum().backward()
    see.grads(t)


def anomalies_without_checks(torch, see):
    t = torch.tensor([0.0, -1.0], requires_grad=True)
    with torch.autograd.set_detect_anomaly(True, check_nan=False):
        t.sqrt().sum().backward()
    see.grads(t)


def infinities_are_no_anomalies(torch, see):
    t = torch.tensor([0.0, 1.0], requires_grad=True)
    with torch.autograd.detect_anomaly():
        y = t.sqrt()
        see("traceback_" in y.grad_fn.metadata)
        y.sum().backward()
    see.grads(t)
    see("traceback_" in t.sqrt().grad_fn.metadata)


def anomalies_in_second_order(torch, see):
    t = torch.tensor([0.0, 1.0], requires_grad=True)
    with torch.autograd.set_detect_anomaly(True):
        (g,) = torch.autograd.grad((t**1.5).sum(), t, create_graph=True)
        with see.error():
            torch.autograd.grad((g * torch.tensor([0.0, 1.0])).sum(), t)


def gradients_at_kinks(torch, see):
    for f in (
        lambda x: abs(x),
        lambda x: torch.relu(x),
        lambda x: torch.sqrt(x),
        lambda x: torch.log(x),
        lambda x: 1 / x,
        lambda x: x**0,
        lambda x: x**0.5,
        lambda x: torch.sign(x),
        lambda x: torch.floor(x),
        lambda x: torch.clamp(x, min=0.0),
        lambda x: torch.maximum(x, x * 1),
        lambda x: x.amax(),
        lambda x: torch.prod(x),
        lambda x: torch.cumprod(x, 0),
    ):
        t = torch.tensor([0.0, 0.0, 2.0], requires_grad=True)
        f(t).sum().backward()
        see.grads(t)


def masked_infinities(torch, see):
    t = torch.tensor([0.0, 4.0], requires_grad=True)
    torch.where(t > 0, torch.sqrt(t), t * 0).sum().backward()
    see.grads(t)
