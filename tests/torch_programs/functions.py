"""Custom functions: section M of the contract."""


def leaf(torch, *values):
    return torch.tensor(list(values) or [1.0, 2.0], requires_grad=True)


def cube(torch, log):
    class Cube(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            log("forward", x.requires_grad, torch.is_grad_enabled())
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            log("backward", torch.is_grad_enabled(), x.requires_grad, ctx.needs_input_grad)
            return g * 3 * x * x

    return Cube


def a_custom_function(torch, see):
    t = leaf(torch)
    y = cube(torch, see).apply(t)
    see.flags(y)
    y.sum().backward()
    see.grads(t)


def a_custom_function_twice_differentiated(torch, see):
    t = leaf(torch)
    y = cube(torch, see).apply(t)
    (g,) = torch.autograd.grad(y.sum(), t, create_graph=True)
    see.new(g)
    see(torch.autograd.grad(g.sum(), t))


def a_custom_function_of_untracked_operands(torch, see):
    y = cube(torch, see).apply(torch.ones(2))
    see.whole(y)
    with torch.no_grad():
        see.whole(cube(torch, see).apply(leaf(torch)))


def the_context_is_the_node(torch, see):
    contexts = []

    class Twice(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, n, flag=None):
            contexts.append(ctx)
            ctx.n = n
            return x * n

        @staticmethod
        def backward(ctx, g):
            see(ctx.needs_input_grad, ctx is contexts[0])
            return g * ctx.n, None, None

    t = leaf(torch)
    y = Twice.apply(t, 2, "x")
    see(y.grad_fn is contexts[0], y.grad_fn.name(), repr(y))
    y.sum().backward()
    see.grads(t)


def too_few_and_too_many(torch, see):
    for returned in (1, 2, 4):

        class Sum(torch.autograd.Function):
            @staticmethod
            def forward(ctx, a, b):
                return a + b

            @staticmethod
            def backward(ctx, g):
                return ((g,) * 2 + (None,) * 2)[:returned] if returned != 1 else g  # noqa: B023

        a, b = leaf(torch), leaf(torch)
        with see.error():
            Sum.apply(a, b).sum().backward()
        see.grads(a, b)


def wrong_gradients(torch, see):
    for result in (3, torch.ones(3), None):

        class Wrong(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                return x * 2

            @staticmethod
            def backward(ctx, g):
                return result  # noqa: B023

        t = leaf(torch)
        with see.error():
            Wrong.apply(t).sum().backward()
        see.grads(t)


def a_gradient_for_a_number(torch, see):
    class Wrong(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, n):
            return x * n

        @staticmethod
        def backward(ctx, g):
            return g, g

    t = leaf(torch)
    with see.error():
        Wrong.apply(t, 3).sum().backward()
    y = Wrong.apply(t, torch.ones(2))
    y.sum().backward()
    see.grads(t)


def gradients_that_are_summed_and_cast(torch, see):
    class Expand(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.expand(3, 2) * 1

        @staticmethod
        def backward(ctx, g):
            return g.double()

    t = leaf(torch)
    Expand.apply(t).sum().backward()
    see.grads(t)


def no_backward(torch, see):
    class Nothing(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

    t = leaf(torch)
    y = Nothing.apply(t)
    with see.error():
        y.sum().backward()


def several_outputs_of_a_function(torch, see):
    class Split(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2, x * 3, 5

        @staticmethod
        def backward(ctx, a, b, c):
            see("cotangents", a, b, c)
            return a * 2 + b * 3

    t = leaf(torch)
    a, b, c = Split.apply(t)
    see(a.output_nr, b.output_nr, c, a.grad_fn is b.grad_fn)
    b.sum().backward()
    see.grads(t)


def missing_cotangents(torch, see):
    class Split(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.set_materialize_grads(False)
            return x * 2, x * 3

        @staticmethod
        def backward(ctx, a, b):
            see("cotangents", a, b)
            return b * 3

    t = leaf(torch)
    Split.apply(t)[1].sum().backward()
    see.grads(t)


def not_differentiable_outputs(torch, see):
    class Sort(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            y, mask = x * 2, x * 0 + 1
            ctx.mark_non_differentiable(mask)
            return y, mask, x > 1

        @staticmethod
        def backward(ctx, g, h, i):
            see("cotangents", g, h)
            return g * 2

    t = leaf(torch)
    y, mask, above = Sort.apply(t)
    see.flags(y, mask, above)
    y.sum().backward()
    see.grads(t)


def double(torch):
    """A function that works in place."""

    class Double(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            x.mul_(2)
            ctx.mark_dirty(x)
            return x

        @staticmethod
        def backward(ctx, g):
            return g * 2

    return Double


def dirty_inputs(torch, see):
    t = leaf(torch)
    x = t * 1
    y = double(torch).apply(x)
    see(y is x, y._version > 0)
    see.new(y)
    y.sum().backward()
    see.grads(t)
    with see.error():
        double(torch).apply(t)


def dirty_inputs_and_saved_values(torch, see):
    t = leaf(torch)
    x = t * 1
    z = x * x
    double(torch).apply(x)
    with see.error():
        z.sum().backward()


def an_input_returned(torch, see):
    class Same(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x

        @staticmethod
        def backward(ctx, g):
            return g * 5

    t = leaf(torch)
    y = Same.apply(t)
    see(y is t, y.requires_grad, y.grad_fn.name())
    y.sum().backward()
    see.grads(t)


def saved_values_of_functions_are_checked(torch, see):
    t = leaf(torch)
    x = t * 1
    y = cube(torch, see).apply(x)
    x.add_(1)
    with see.error():
        y.sum().backward()
    z = cube(torch, see).apply(t)
    z.sum().backward()
    with see.error():
        z.sum().backward()


def what_may_be_saved(torch, see):
    class Saves(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            with see.error():
                ctx.save_for_backward([x])
            ctx.save_for_backward(x, None)
            ctx.save_for_backward(None, x)
            return x * 2

        @staticmethod
        def backward(ctx, g):
            see(ctx.saved_tensors)
            return g

    Saves.apply(leaf(torch)).sum().backward()


def once(torch, see):
    class Once(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return g * 2 * x

    t = leaf(torch)
    y = Once.apply(t)
    (g,) = torch.autograd.grad((y * y).sum(), t, create_graph=True)  # a cotangent that can be differentiated
    see(g, g.requires_grad)
    with see.error(text=True):
        g.sum().backward()


def a_separate_context(torch, see):
    class Product(torch.autograd.Function):
        @staticmethod
        def forward(a, b):
            return a * b

        @staticmethod
        def setup_context(ctx, inputs, output):
            see("set up", inputs, output)
            ctx.save_for_backward(*inputs)

        @staticmethod
        def backward(ctx, g):
            a, b = ctx.saved_tensors
            return g * b, g * a

    a, b = leaf(torch), leaf(torch, 3.0, 4.0)
    Product.apply(a, b).sum().backward()
    see.grads(a, b)


def functions_that_walk(torch, see):
    class Inner(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            with torch.enable_grad():
                ctx.x = x.detach().requires_grad_()
                ctx.y = (ctx.x * ctx.x).sum()
            return ctx.y.detach()

        @staticmethod
        def backward(ctx, g):
            (inner,) = torch.autograd.grad(ctx.y, ctx.x)
            return inner * g

    t = leaf(torch)
    (Inner.apply(t) * 3).backward()
    see.grads(t)


def errors_in_a_function(torch, see):
    class Fails(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            raise KeyError("mine")

    t = leaf(torch)
    with see.error():
        Fails.apply(t).sum().backward()
    see.grads(t)


def instances_of_functions(torch, see):
    with see.warned(), see.error():
        cube(torch, see)()


def hooks_of_functions(torch, see):
    t = leaf(torch)
    y = cube(torch, see).apply(t)
    y.grad_fn.register_hook(see.hook("after"))
    y.grad_fn.register_prehook(see.hook("before"))
    y.sum().backward()
    see.grads(t)
    see(y.grad_fn.next_functions)


def a_function_without_a_jvp(torch, see):
    t = torch.ones(2)
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(t, t)
        with see.error():
            cube(torch, see).apply(dual)


def a_function_with_a_jvp(torch, see):
    class Cube(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_forward(x)
            return x**3

        @staticmethod
        def jvp(ctx, t):
            (x,) = ctx.saved_tensors
            return 3 * x * x * t

    t = leaf(torch).detach()
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(t, torch.ones(2))
        see(torch.autograd.forward_ad.unpack_dual(Cube.apply(dual)).tangent)


def a_function_under_vmap(torch, see):
    class Scale(torch.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(x):
            return x * 3

        @staticmethod
        def setup_context(ctx, inputs, output):
            pass

        @staticmethod
        def backward(ctx, g):
            return g * 3

    x = torch.ones(4, 2)
    see(torch.func.vmap(Scale.apply)(x))
    see(torch.func.vmap(torch.func.grad(lambda x: (Scale.apply(x) ** 2).sum()))(x))
