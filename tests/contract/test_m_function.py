"""Section M: `autograd.Function`."""

import collections
import gc
import warnings
import weakref

import pytest

FREED = (
    "Trying to backward through the graph a second time (or directly access saved tensors after they have already been"
    " freed). Saved intermediate values of the graph are freed when you call .backward() or autograd.grad(). Specify"
    " retain_graph=True if you need to backward through the graph a second time or if you need to access saved tensors"
    " after calling backward."
)
WRITTEN = "one of the variables needed for gradient computation has been modified by an inplace operation: "


@pytest.fixture
def make(torch):
    """`make(forward, backward)`: a Function named MyFn."""

    def make(forward=None, backward=None, name="MyFn", **methods):
        methods |= {"forward": forward, "backward": backward}
        methods = {key: staticmethod(value) for key, value in methods.items() if value is not None}
        return type(name, (torch.autograd.Function,), methods)

    return make


@pytest.fixture
def double(make):
    return make(lambda ctx, x: x * 2, lambda ctx, g: g * 2)


@pytest.fixture
def square(make):
    """x * x, differentiable twice."""

    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    return make(forward, lambda ctx, g: 2 * g * ctx.saved_tensors[0])


def gradient(torch, y, *inputs, **options):
    return tuple(None if g is None else g.tolist() for g in torch.autograd.grad(y, inputs, **options))


# ---- calls


def test_s044_the_name_of_the_class_is_printed(make, t):
    assert repr(make(lambda ctx, x: x * 1, name="Fn").apply(t)) == "tensor([1., 2.], grad_fn=<FnBackward>)"


def test_s150_forward_runs_unrecorded_and_receives_the_very_objects(torch, make, t):
    seen = []

    def forward(ctx, x):
        seen.append((x is t, x.requires_grad, torch.is_grad_enabled(), (x * 2).requires_grad))
        return x * 2

    assert make(forward).apply(t).requires_grad
    assert seen == [(True, True, False, False)]
    assert torch.is_grad_enabled()


def test_s150_keyword_arguments_count_as_inputs(torch, make, t, raises):
    def forward(ctx, x, k=1):
        ctx.k = k
        return x * k

    y = make(forward, lambda ctx, g: (g * ctx.k, None)).apply(t, k=2)
    assert y.grad_fn.needs_input_grad == (True, False)
    assert gradient(torch, y.sum(), t) == ([2.0, 2.0],)
    with raises(RuntimeError, "function MyFnBackward returned an incorrect number of gradients (expected 2, got 1)"):
        make(forward, lambda ctx, g: g).apply(t, k=2).sum().backward()


def test_s150_a_failing_forward_leaves_the_mode_as_it_was(torch, make, t):
    def forward(ctx, x):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        make(forward).apply(t)
    assert torch.is_grad_enabled()
    assert (t * 2).requires_grad


def test_s151_instances_are_deprecated_and_calls_refused(double, t, raises):
    with pytest.warns(DeprecationWarning, match="should not be instantiated. Methods on autograd functions are all "):
        instance = double()
    with raises(RuntimeError, start="Legacy autograd function with non-static forward method is deprecated. "):
        instance(t)


def test_s151_methods_without_staticmethod_work_through_apply(torch, t):
    class MyFn(torch.autograd.Function):
        def forward(ctx, x):
            return x * 2

        def backward(ctx, g):
            return g * 2

    assert gradient(torch, MyFn.apply(t).sum(), t) == ([2.0, 2.0],)


def test_s152_a_missing_backward_is_missed_when_it_is_needed(make, t, raises):
    y = make(lambda ctx, x: x * 2).apply(t)
    with raises(
        NotImplementedError,
        "You must implement either the backward or vjp method for your custom autograd.Function to use it with "
        "backward mode AD.",
    ):
        y.sum().backward()


def test_s152_vjp_is_another_name_of_backward(torch, make, t, raises):
    named_vjp = make(lambda ctx, x: x * 2, vjp=lambda ctx, g: g * 2)
    assert gradient(torch, named_vjp.apply(t).sum(), t) == ([2.0, 2.0],)
    both = make(lambda ctx, x: x * 2, lambda ctx, g: g, vjp=lambda ctx, g: g)
    with raises(
        RuntimeError,
        "Implementing both 'backward' and 'vjp' for a custom Function is not allowed. You should only implement one "
        "of them.",
    ):
        both.apply(t).sum().backward()


# ---- what backward returns


@pytest.mark.parametrize("n", [0, 1])
def test_s153_too_few_gradients(torch, make, t, raises, n):
    y = make(lambda ctx, x, k: x * k, lambda ctx, g: (g,) * n).apply(t, 2)
    with raises(RuntimeError, f"function MyFnBackward returned an incorrect number of gradients (expected 2, got {n})"):
        y.sum().backward()


def test_s153_too_many_gradients(torch, make, t, raises):
    with raises(RuntimeError, "function MyFnBackward returned an incorrect number of gradients (expected 1, got 2)"):
        make(lambda ctx, x: x * 2, lambda ctx, g: (g, g)).apply(t).sum().backward()
    more = make(lambda ctx, x: x * 2, lambda ctx, g: (g, None, None))
    assert gradient(torch, more.apply(t).sum(), t) == ([1.0, 1.0],)


@pytest.mark.parametrize("wrong", [5, [1.0, 1.0], "g"])
def test_s154_a_gradient_is_a_tensor_or_none(make, t, raises, wrong):
    with raises(RuntimeError, f"expected Variable or None (got {type(wrong).__name__})"):
        make(lambda ctx, x: x * 2, lambda ctx, g: wrong).apply(t).sum().backward()


def test_s154_a_gradient_for_what_is_no_tensor(make, t, raises):
    with raises(
        RuntimeError,
        "function MyFnBackward returned a gradient different than None at position 2, but the corresponding forward "
        "input was not a Variable",
    ):
        make(lambda ctx, x, k: x * k, lambda ctx, g: (g, g)).apply(t, 2).sum().backward()


def test_s154_a_gradient_for_a_tensor_that_needs_none_is_ignored(torch, make, t):
    y = make(lambda ctx, x, k: x * k, lambda ctx, g: (g, g)).apply(t, torch.ones(2))
    assert gradient(torch, y.sum(), t) == ([1.0, 1.0],)


def test_s155_a_gradient_is_summed_to_the_shape_of_its_input(torch, make, t, raises):
    many = make(lambda ctx, x: x * 2, lambda ctx, g: torch.ones(4, 3, 2))
    assert gradient(torch, many.apply(t).sum(), t) == ([12.0, 12.0],)
    column = torch.ones(3, 1, requires_grad=True)
    wide = make(lambda ctx, x: x * 2, lambda ctx, g: torch.ones(3, 4))
    assert gradient(torch, wide.apply(column).sum(), column) == ([[4.0]] * 3,)
    for shape in ((3,), (1,), ()):
        wrong = make(lambda ctx, x: x * 2, lambda ctx, g, shape=shape: torch.ones(shape))
        with raises(
            RuntimeError,
            "Function MyFnBackward returned an invalid gradient at index 0 - got "
            f"{list(shape)} but expected shape compatible with [2]",
        ):
            wrong.apply(t).sum().backward()


def test_s155_a_gradient_is_cast_to_the_dtype_of_its_input(torch, make, t):
    for dtype in (torch.float64, torch.int64):
        cast = make(lambda ctx, x: x * 2, lambda ctx, g, dtype=dtype: torch.ones(2, dtype=dtype))
        (g,) = torch.autograd.grad(cast.apply(t).sum(), t)
        assert (g.dtype, g.tolist()) == (torch.float32, [1.0, 1.0])


def test_s155_real_and_complex(torch, make, t):
    with pytest.raises(RuntimeError):
        make(lambda ctx, x: x * 2, lambda ctx, g: g * 1j).apply(t).sum().backward()
    z = torch.tensor([1j, 2.0], requires_grad=True)
    real = make(lambda ctx, x: x * 2, lambda ctx, g: torch.ones(2))
    (g,) = torch.autograd.grad(real.apply(z), z, torch.ones(2, dtype=torch.complex64))
    assert (g.dtype, g.tolist()) == (torch.complex64, [1.0, 1.0])


# ---- ctx


def test_s156_ctx_is_the_node(torch, make, t):
    seen = []
    y = make(lambda ctx, x, k, w: seen.append(ctx) or x * k * w, lambda ctx, g: (g, None, None)).apply(t, 2, t.detach())
    (ctx,) = seen
    assert ctx is y.grad_fn
    assert ctx.name() == "MyFnBackward"
    assert isinstance(ctx, torch.autograd.graph.Node)
    assert ctx.needs_input_grad == (True, False, False)
    assert [number for node, number in ctx.next_functions] == [0, 0]
    assert ctx.next_functions[0][0].variable is t
    assert ctx.next_functions[1][0] is None


def test_s156_needs_input_grad_does_not_depend_on_the_walk(torch, make, t):
    seen = []
    w = torch.ones(2, requires_grad=True)
    backward = lambda ctx, g: (seen.append(ctx.needs_input_grad) or g, g)       # noqa: E731
    torch.autograd.grad(make(lambda ctx, x, w: x * w, backward).apply(t, w).sum(), w)
    assert seen == [(True, True)]


def test_s156_attributes_of_ctx(torch, make, t):
    def forward(ctx, x):
        ctx.name, ctx.factor = "mine", 3
        ctx.gone = 1
        del ctx.gone
        return x * 3

    def backward(ctx, g):
        assert not hasattr(ctx, "gone")
        assert ctx.name == "mine"
        return g * ctx.factor

    y = make(forward, backward).apply(t)
    y.grad_fn.factor = 5
    assert gradient(torch, y.sum(), t) == ([5.0, 5.0],)
    with pytest.raises(AttributeError):
        y.grad_fn.other     # noqa: B018
    with pytest.raises(AttributeError):
        (t * 2).grad_fn.factor = 1


@pytest.mark.parametrize("create_graph", [False, True])
def test_s157_backward_runs_under_the_grad_mode_of_the_walk(torch, make, t, create_graph):
    seen = []
    y = make(lambda ctx, x: x * 2, lambda ctx, g: seen.append(torch.is_grad_enabled()) or g).apply(t).sum()
    with torch.no_grad():
        torch.autograd.grad(y, t, create_graph=create_graph)
    assert seen == [create_graph]


# ---- outputs


def test_s158_nothing_is_recorded_without_a_tracked_input(torch, double, t):
    y = double.apply(torch.ones(2))
    assert (y.requires_grad, y.grad_fn, y.is_leaf) == (False, None, True)
    with torch.no_grad():
        assert double.apply(t).grad_fn is None


def test_s158_an_input_returned_as_it_is(torch, make, t):
    identity = make(lambda ctx, x: x, lambda ctx, g: g * 3)
    y = identity.apply(t)
    assert y is not t
    assert y.grad_fn.name() == "MyFnBackward"
    assert (t.is_leaf, t.requires_grad) == (True, True)
    assert gradient(torch, y.sum(), t) == ([3.0, 3.0],)
    plain = torch.ones(2)
    same = identity.apply(plain)
    assert same is not plain
    same += 1
    assert plain.tolist() == [2.0, 2.0]


def test_s158_other_outputs_pass_through(torch, make, t):
    seen = []
    forward = lambda ctx, x: (x * 2, 3, None, x.long(), [x * 3], {"x": x})      # noqa: E731
    y, three, none, integers, others, named = make(forward, lambda ctx, *g: seen.append(g) or g[0]).apply(t)
    assert (three, none, integers.grad_fn, integers.requires_grad) == (3, None, None, False)
    assert (others[0].requires_grad, named["x"]) == (False, t)
    y.sum().backward()
    assert [g if g is None else g.tolist() for g in seen[0]] == [[1.0, 1.0], None, None, [0, 0], None, None]


def test_s158_lists_in_and_out_are_not_looked_into(torch, make, t):
    assert not make(lambda ctx, x: [x * 2]).apply(t)[0].requires_grad
    assert not make(lambda ctx, xs: xs[0] * 2).apply([t]).requires_grad
    one = make(lambda ctx, x: (x * 2,)).apply(t)
    assert type(one) is tuple
    assert one[0].requires_grad


@pytest.mark.differs("PyTorch returns a plain tuple")
def test_s158_named_tuples_stay_named(make, t):
    pair = collections.namedtuple("Pair", "a b")
    result = make(lambda ctx, x: pair(x * 2, x * 3)).apply(t)
    assert type(result) is pair
    assert (result.a.output_nr, result.b.output_nr) == (0, 1)


def test_s158_several_outputs_share_the_node(torch, make, t):
    a, b = make(lambda ctx, x: (x * 2, x * 3), lambda ctx, g, h: 2 * g + 3 * h).apply(t)
    assert a.grad_fn is b.grad_fn
    assert (a.output_nr, b.output_nr) == (0, 1)
    assert gradient(torch, (a + 10 * b).sum(), t) == ([32.0, 32.0],)


def test_s158_one_output_returned_twice(torch, make, t):
    def forward(ctx, x):
        y = x * 2
        return y, y

    a, b = make(forward, lambda ctx, g, h: g + h).apply(t)
    assert gradient(torch, (a + 10 * b).sum(), t) == ([11.0, 11.0],)


def test_s158_a_forward_that_records_has_no_effect(torch, make, t):
    def forward(ctx, x):
        with torch.enable_grad():
            return x * 2

    assert gradient(torch, make(forward, lambda ctx, g: g * 100).apply(t).sum(), t) == ([100.0, 100.0],)


# ---- saved values


def test_s159_tensors_and_none_can_be_saved(torch, make, t, raises):
    seen = []

    def forward(ctx, x, values):
        ctx.save_for_backward("forgotten: the last call counts")
        ctx.save_for_backward(*values)
        return x * 2

    def backward(ctx, g):
        seen.append(ctx.saved_tensors)
        return g, None

    fn = make(forward, backward)
    fn.apply(t, (t, None, torch.ones(1))).sum().backward()
    assert seen[0][0] is t
    assert seen[0][1] is None
    assert seen[0][2].tolist() == [1.0]
    with raises(TypeError, "save_for_backward can only save variables, but argument 0 is of type list"):
        fn.apply(t, ([t],))


def test_s159_saved_values_are_checked_for_writes(torch, make, raises):
    def forward(ctx, x, of):
        y = torch.exp(x)
        ctx.save_for_backward(x if of == "input" else y)
        return y

    fn = make(forward, lambda ctx, g: (g * ctx.saved_tensors[0], None))
    x = torch.ones(2, requires_grad=True)
    a = x * 1
    y = fn.apply(a, "input")
    a += 1
    start = WRITTEN + "[torch.FloatTensor [2]], which is output 0 of {}, is at version 1; expected version 0 instead. "
    with raises(RuntimeError, start=start.format("Add")) if torch.__name__ == "torch" else pytest.raises(RuntimeError):
        y.sum().backward()
    y = fn.apply(x, "output")
    z = y.sum()
    y.detach().zero_()
    with raises(RuntimeError, start=start.format("MyFn")):
        z.backward()


def test_s159_saved_values_are_freed(torch, square, t, raises):
    y = square.apply(t)
    assert y.grad_fn.saved_tensors[0] is t
    y.sum().backward()
    with raises(RuntimeError, start=FREED):
        y.sum().backward()
    with raises(RuntimeError, start=FREED):
        y.grad_fn.saved_tensors     # noqa: B018


def test_s159_inputs_and_outputs_carry_their_history(torch, make, square):
    x = torch.tensor([1.0, 2.0], requires_grad=True)

    def forward(ctx, x):
        y = torch.exp(x)
        ctx.save_for_backward(y)
        return y

    exp = make(forward, lambda ctx, g: g * ctx.saved_tensors[0])
    for fn, derivatives in (
        (square.apply, (2 * x, torch.full((2,), 2.0))),
        (lambda x: square.apply(x * 1), (2 * x, torch.full((2,), 2.0))),
        (exp.apply, (torch.exp(x), torch.exp(x), torch.exp(x))),
    ):
        y = fn(x)
        for expected in derivatives:
            (y,) = torch.autograd.grad(y.sum(), x, create_graph=True)
            assert y.tolist() == pytest.approx(expected.tolist())


# ---- values on ctx


def test_s160_an_output_on_ctx_makes_a_cycle_that_is_collected(torch, make, t):
    def forward(ctx, x):
        ctx.y = x * 2
        return ctx.y

    y = make(forward, lambda ctx, g: g).apply(t)
    alive = weakref.ref(y)
    gc.disable()
    try:
        del y
        assert alive() is not None
        gc.collect()
        assert alive() is None
    finally:
        gc.enable()


def cube_with(keep):
    """x**3 with an intermediate, kept by `keep(ctx, x, x * x)`."""

    def forward(ctx, x):
        keep(ctx, x, x * x)
        return x * x * x

    return forward


KEPT = {
    "attribute": (lambda ctx, x, s: setattr(ctx, "s", s), lambda ctx: ctx.s),
    "saved": (lambda ctx, x, s: ctx.save_for_backward(x, s), lambda ctx: ctx.saved_tensors[1]),
    "list": (lambda ctx, x, s: setattr(ctx, "s", [s]), lambda ctx: ctx.s[0]),
    "dict": (lambda ctx, x, s: setattr(ctx, "s", {"s": (s, 1)}), lambda ctx: ctx.s["s"][0]),
}


@pytest.mark.differs("PyTorch gives wrong numbers")
@pytest.mark.parametrize(("keep", "kept"), KEPT.values(), ids=KEPT)
def test_s160_a_value_whose_derivative_is_lost_is_caught_in_double_backward(torch, make, t, keep, kept):
    fn = make(cube_with(keep), lambda ctx, g: 3 * g * kept(ctx))
    y = fn.apply(t)
    assert gradient(torch, y.sum(), t, retain_graph=True) == ([3.0, 12.0],)
    (g,) = torch.autograd.grad(y.sum(), t, create_graph=True)
    assert g.tolist() == [3.0, 12.0]
    with pytest.raises(RuntimeError, match=r"computed in MyFn\.forward from inputs that require grad"):
        torch.autograd.grad(g.sum(), t)


@pytest.mark.parametrize("create_graph", [False, True])
def test_s160_other_values_on_ctx_are_as_they_were(torch, make, t, create_graph):
    other = torch.ones(2)

    def forward(ctx, x):
        ctx.mask, ctx.constant, ctx.other, ctx.sign = (x > 1).to(x.dtype), torch.full((2,), 3.0), other, torch.sign(x)
        ctx.detached, ctx.input = (x * x).detach(), x
        return x * ctx.mask

    def backward(ctx, g):
        assert ctx.other is other
        assert ctx.input is t
        kept = ctx.mask, ctx.constant, ctx.other, ctx.sign, ctx.detached
        assert not any(value.requires_grad for value in kept)
        return g * ctx.mask * ctx.constant

    (g,) = torch.autograd.grad(make(forward, backward).apply(t).sum(), t, create_graph=create_graph)
    assert g.tolist() == [0.0, 3.0]
    assert not g.requires_grad


# ---- marks


def test_s161_an_input_written_to(torch, make, t, raises):
    def forward(ctx, x):
        x += 1
        ctx.mark_dirty(x)
        return x

    plus_one = make(forward, lambda ctx, g: g * 3)
    a = t * 2
    assert plus_one.apply(a) is a
    assert a.grad_fn.name() == "MyFnBackward"
    assert gradient(torch, a.sum(), t) == ([6.0, 6.0],)
    with raises(RuntimeError, "a leaf Variable that requires grad has been used in an in-place operation."):
        plus_one.apply(torch.ones(2, requires_grad=True))
    plain = torch.ones(2)
    assert plus_one.apply(plain) is plain
    assert (plain.tolist(), plain.requires_grad) == ([2.0, 2.0], False)


def test_s161_a_mark_counts_as_a_write(torch, make, t, raises):
    def forward(ctx, x):
        x.detach().numpy()[...] *= 2        # the engine cannot see this
        ctx.mark_dirty(x)
        return x

    x = t * 1
    z = x * x
    before = x._version
    make(forward, lambda ctx, g: g * 2).apply(x)
    assert x._version > before
    with raises(RuntimeError, start=WRITTEN):
        z.sum().backward()


def test_s161_a_view_written_to(torch, make, t):
    def forward(ctx, x):
        x *= 10
        ctx.mark_dirty(x)
        return x

    base = t * 1
    view = base[:1]
    assert make(forward, lambda ctx, g: g * 10).apply(view) is view
    assert base.tolist() == [10.0, 2.0]
    assert gradient(torch, base.sum() + view.sum(), t) == ([20.0, 1.0],)


def test_s161_a_plain_input_written_to_with_a_tracked_one(torch, make, t):
    def forward(ctx, a, x):
        a += x
        ctx.mark_dirty(a)
        return a

    a = torch.ones(2)
    make(forward, lambda ctx, g: (g, g)).apply(a, t)
    assert (a.is_leaf, a.tolist()) == (False, [2.0, 3.0])
    assert gradient(torch, a.sum(), t) == ([1.0, 1.0],)


def test_s161_what_is_marked_dirty_is_an_input_and_is_returned(make, t, raises):
    with raises(
        RuntimeError,
        "Some elements marked as dirty during the forward method were not returned as output. The inputs that are "
        "modified inplace must all be outputs of the Function.",
    ):
        make(lambda ctx, x: (ctx.mark_dirty(x), x * 2)[1]).apply(t * 1)

    def forward(ctx, x):
        y = x * 2
        ctx.mark_dirty(y)
        return y

    with pytest.warns(UserWarning, match=r"ctx.mark_dirty\(\) received a tensor that was not an input\. "):
        make(forward).apply(t)


def test_s162_an_output_marked_non_differentiable(torch, make, t):
    seen = []

    def forward(ctx, x):
        y = x * 2
        ctx.mark_non_differentiable(y)
        return y, x * 3, x > 1

    a, b, c = make(forward, lambda ctx, *g: seen.append(g) or g[1] * 3).apply(t)
    assert (a.requires_grad, b.requires_grad, c.requires_grad) == (False, True, False)
    b.sum().backward()
    assert [g.tolist() for g in seen[0]] == [[0.0, 0.0], [1.0, 1.0], [False, False]]


@pytest.mark.parametrize("materialize", [True, False])
def test_s163_cotangents_that_nobody_sent(torch, make, t, materialize):
    seen = []

    def forward(ctx, x):
        if not materialize:
            ctx.set_materialize_grads(False)
        return x * 2, x * 3

    make(forward, lambda ctx, g, h: seen.append(h) or g).apply(t)[0].sum().backward()
    assert [h if h is None else h.tolist() for h in seen] == ([[0.0, 0.0]] if materialize else [None])


@pytest.mark.parametrize("materialize", [True, False])
def test_s102_the_node_upstream_of_a_none_still_runs(torch, make, t, materialize):
    seen = []

    def forward(ctx, x):
        ctx.set_materialize_grads(materialize)
        return x * 2

    upstream = make(forward, lambda ctx, g: seen.append(g) or g)
    nothing = make(lambda ctx, x: x * 2, lambda ctx, g: None)
    nothing.apply(upstream.apply(t) * 2).sum().backward()
    assert [g if g is None else g.tolist() for g in seen] == ([[0.0, 0.0]] if materialize else [None])
    assert (t.grad.tolist() if materialize else t.grad) == ([0.0, 0.0] if materialize else None)


def test_s101_a_gradient_of_none_counts_as_unused(torch, make, t, raises):
    nothing = make(lambda ctx, x: x * 2, lambda ctx, g: None)
    with raises(RuntimeError, start="The differentiated Tensor at index 0 appears to not have been used in the graph."):
        torch.autograd.grad(nothing.apply(t).sum(), t)
    nothing.apply(t).sum().backward()
    assert t.grad is None


def test_s164_once_differentiable(torch, make, t, raises):
    once = torch.autograd.function.once_differentiable
    seen = []

    def backward(ctx, g):
        seen.append(torch.is_grad_enabled())
        return g * 2

    fn = make(lambda ctx, x: x * 2, once(backward))
    assert gradient(torch, fn.apply(t).sum(), t) == ([2.0, 2.0],)
    w = torch.ones(2, requires_grad=True)
    (g,) = torch.autograd.grad(fn.apply(t), t, w, create_graph=True)
    assert seen == [False, False]
    with raises(RuntimeError, "trying to differentiate twice a function that was marked with @once_differentiable"):
        g.sum().backward()


@pytest.mark.differs("PyTorch sees only what depends on a tracked cotangent")
def test_s164_once_differentiable_with_a_plain_cotangent(torch, make, t, raises):
    once = torch.autograd.function.once_differentiable
    (g,) = torch.autograd.grad(make(lambda ctx, x: x * 2, once(lambda ctx, g: g)).apply(t).sum(), t, create_graph=True)
    with raises(RuntimeError, "trying to differentiate twice a function that was marked with @once_differentiable"):
        torch.autograd.grad(g.sum(), t)


def test_s165_setup_context(torch, t):
    seen = []

    class MyFn(torch.autograd.Function):
        @staticmethod
        def forward(x, k=3):
            return x * k

        @staticmethod
        def setup_context(ctx, inputs, output):
            seen.append((inputs[0] is t, inputs[1], torch.is_grad_enabled(), output))
            ctx.k = inputs[1]
            ctx.save_for_backward(output)

        @staticmethod
        def backward(ctx, g):
            assert ctx.saved_tensors[0].grad_fn is ctx
            return g * ctx.k, None

    for call, k in ((lambda: MyFn.apply(t), 3), (lambda: MyFn.apply(t, 4), 4), (lambda: MyFn.apply(t, k=5), 5)):
        y = call()
        assert seen[-1][:3] == (True, k, False)
        assert seen[-1][3] is y
        assert gradient(torch, y.sum(), t) == ([float(k), float(k)],)


# ---- views


VIEW = "Output 0 of MyFn is a view and {} modified inplace. This view was created inside a custom Function"


@pytest.mark.parametrize("kind", ["input", "part", "inner"])
def test_s166_a_view_is_not_written_to(torch, make, t, raises, kind):
    forward = {"input": lambda ctx, x: x, "part": lambda ctx, x: x[:1], "inner": lambda ctx, x: (x * 2).reshape(2, 1)}
    fn = make(forward[kind])
    for x in (t, t * 2):
        y = fn.apply(x)
        with raises(RuntimeError, start=VIEW.format("is being")):
            y += 1


def test_s166_one_of_several_views(torch, make, t, raises):
    _, b = make(lambda ctx, x: (x[:1], x[1:])).apply(t * 2)
    with raises(
        RuntimeError,
        "Output 1 of MyFn is a view and is being modified inplace. This view is the output of a function that returns "
        "multiple views. Such functions do not allow the output views to be modified inplace. You should replace the "
        "inplace operation by an out-of-place one.",
    ):
        b += 1


def test_s166_a_base_that_is_written_to(torch, make, t, raises):
    x = t * 2
    y = make(lambda ctx, x: x).apply(x)
    x += 1
    with raises(RuntimeError, start=VIEW.format("its base or another view of its base has been")):
        y.grad_fn       # noqa: B018


def test_s166_an_untracked_view_may_be_written_to(torch, make):
    a = torch.ones(2)
    y = make(lambda ctx, x: x[:1]).apply(a)
    y += 1
    assert a.tolist() == [2.0, 1.0]


@pytest.mark.differs("PyTorch takes it for a view made in no_grad")
def test_s166_a_tracked_value_may_be_written_to_an_untracked_view(torch, make, t):
    a = torch.ones(2)
    y = make(lambda ctx, x: x[:1]).apply(a)
    y += t[0]
    assert a.tolist() == [2.0, 1.0]
    assert gradient(torch, a.sum(), t) == ([1.0, 0.0],)


def test_s167_an_exception_keeps_its_type(make, t):
    class Mine(Exception):
        pass

    def backward(ctx, g):
        raise Mine("text")

    with pytest.raises(Mine, match=r"^text$"):
        make(lambda ctx, x: x * 2, backward).apply(t).sum().backward()


def test_s155_hooks_and_retained_gradients_see_the_cotangent(torch, make, t):
    seen = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        y = make(lambda ctx, x: x * 2, lambda ctx, g: g * 2).apply(t)
        y.register_hook(lambda g: seen.append(g.tolist()) or g * 10)
        y.retain_grad()
        y.sum().backward()
    assert seen == [[1.0, 1.0]]
    assert y.grad.tolist() == [10.0, 10.0]
    assert t.grad.tolist() == [20.0, 20.0]
