"""Pictures of graphs: every node and line is there once and says what is true, in every format, whatever the names."""

import gc
import importlib.util
import itertools
import re
import shutil
import sys
import weakref
import xml.etree.ElementTree as ElementTree
from collections import Counter

import numpy as np
import pytest
from source_tree import SOURCE

import agrad
from agrad import nn, viz
from agrad.cython_core import engine
from agrad.viz.layout import GAP, arrange, layers_of

SVG = "{http://www.w3.org/2000/svg}"


def leaf(*shape, value=1.0):
    return agrad.full(shape, value).requires_grad_()


class Doubled(agrad.autograd.Function):
    @staticmethod
    def forward(ctx, x, y):
        ctx.save_for_backward(x)
        return x * 2, x + y

    @staticmethod
    def backward(ctx, g, h):
        return g * 2 + h, h


def mlp(x, w, b):
    return ((x @ w + b).tanh() ** 2).sum()


def shared(x, w, b):
    h = x @ w
    return (h * h + h).sum() + (b * b * b).mean()


def several_results(x, w, b):
    first, second = Doubled.apply(x @ w, b + agrad.zeros((2, 1)))
    rows = agrad.unstack(agrad.concat([first, second, first]))
    return (rows[0] * rows[2] - rows[1]).sum()


def writes(x, w, b):
    h = x @ w
    h[0] = b * 2
    h.mul_(3)
    return agrad.stack([h[0], h[1]]).astype(agrad.float32).sum(axis=0).max()


PROGRAMS = [mlp, shared, several_results, writes]


@pytest.fixture(params=PROGRAMS, ids=lambda program: program.__name__)
def program(request):
    return request.param


def made(program):
    """A program's result and its named leaves."""
    params = {"x": leaf(2, 3), "w": leaf(3, 4), "b": leaf(4)}
    return program(**params), params


def engines_lines(root, params):
    """Lines of the graph by a walk over next_functions: from a leaf's name or a node's number to a node's number."""
    names = {id(t): name for name, t in params.items()}
    lines, seen, stack = Counter(), set(), [root.grad_fn]
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        for below, _ in node.next_functions:
            if below is not None:
                is_leaf = "AccumulateGrad" in below.name()
                lines[names[id(below.variable)] if is_leaf else below._sequence_nr(), node._sequence_nr()] += 1
                if not is_leaf:
                    stack.append(below)
    return lines, seen


# ------------------------------------------------------------------------------------------------------------ structure


def test_every_node_and_line_is_there_once(program):
    root, params = made(program)
    graph = viz.graph(root, params)
    lines, nodes = engines_lines(root, params)
    assert sorted(box.number for box in graph.boxes if box.kind == "op") == sorted(n._sequence_nr() for n in nodes)
    assert {box.node_name for box in graph.boxes if box.kind == "op"} == {node.name() for node in nodes}
    keys = [box.title if box.kind == "leaf" else box.number for box in graph.boxes]
    assert Counter((keys[a], keys[b]) for a, b in graph.edges) == lines
    assert (graph.nodes, graph.leaves, graph.left_out) == (len(nodes), 3, 0)


def test_every_node_shows_the_shape_and_dtype_of_its_result(program):
    found = {}

    def saw(what, mode, operands, results):
        for t in results:
            if t.grad_fn is not None:
                found[t.grad_fn._sequence_nr(), t.output_nr] = (t.shape, t.dtype.name, t.size * t.dtype.bits // 8)

    before = engine.get_mode()
    engine.set_mode(before.replace(tracing=engine.Tracing(saw)))
    try:
        root, params = made(program)
    finally:
        engine.set_mode(before)
    compared = 0
    for box in viz.graph(root, params).boxes:
        if box.kind == "op" and (box.number, 0) in found and (box.number, 1) not in found:
            assert (box.shape, box.dtype, box.bytes) == found[box.number, 0], box.title
            compared += 1
    assert compared >= 5


def test_bytes_that_are_kept_are_those_of_the_report(program):
    root, params = made(program)
    assert sum(box.kept for box in viz.graph(root, params).boxes) == agrad.autograd.graph.report(root).bytes


def test_a_view_of_a_leaf_is_not_kept_memory():
    x, w = agrad.ones((2, 3)), leaf(4, 3)
    assert {box.title: box.kept for box in viz.graph(x @ w.T, {"w": w}).boxes} == {
        "w": 0, "permute_dims": 0, "matmul": 48,
    }
    y = leaf(2, 3) @ w.T
    assert sum(box.kept for box in viz.graph(y).boxes) == agrad.autograd.graph.report(y).bytes == 0


def test_names_of_nodes_are_those_of_pytorch():
    torch = pytest.importorskip("torch")
    x, w, b = (torch.ones(shape, requires_grad=True, dtype=torch.float64) for shape in [(2, 3), (3, 4), (4,)])
    names, stack = Counter(), [mlp(x, w, b).grad_fn]
    while stack:
        node = stack.pop()
        names[node.name().rpartition("::")[2]] += 1
        stack += [below for below, _ in node.next_functions if below is not None]
    assert Counter(box.node_name for box in viz.graph(made(mlp)[0]).boxes) == names


def test_graphs_are_drawn_on_every_backend(backend):
    x, w = leaf(2, 3), leaf(3, 4)
    graph = viz.graph(agrad.exp(x @ w).sum(), {"x": x, "w": w})
    assert [box.title for box in graph.boxes] == ["x", "w", "matmul", "exp", "sum"]
    assert [box.shape for box in graph.boxes] == [(2, 3), (3, 4), (2, 4), (2, 4), ()]
    ElementTree.fromstring(graph.svg())


def test_several_results_share_one_picture():
    x = leaf(3)
    h = x * 2
    graph = viz.graph([h.sum(), h, x])
    assert [(box.title, box.is_root) for box in graph.boxes] == [("leaf", True), ("multiply", True), ("sum", True)]
    assert str(graph).count("\n") == 2


def test_a_leaf_alone_is_a_box():
    graph = viz.graph(leaf(2))
    assert (len(graph.boxes), graph.edges, graph.nodes, graph.leaves) == (1, [], 0, 1)
    assert str(graph) == "leaf  (2,) float64  16 B"
    ElementTree.fromstring(graph.svg())


@pytest.mark.parametrize("draw", [viz.graph, viz.make_dot])
def test_what_has_no_graph_is_refused(draw):
    with pytest.raises(ValueError, match=r"the tensor does not require grad.*graph\.explain"):
        draw(agrad.ones(2))
    with pytest.raises(ValueError, match="tensor 1 does not require grad"):
        draw([leaf(2), agrad.ones(2)])
    with pytest.raises(ValueError, match="got no tensor"):
        draw([])
    with pytest.raises(TypeError, match="takes a Tensor, or a list or tuple of them, not ndarray"):
        draw(np.ones(2))
    with pytest.raises(TypeError, match="expected a module, a dict of names and Tensors"):
        draw(leaf(2), {"x": np.ones(2)})
    with pytest.raises(TypeError, match="not int"):
        draw(leaf(2), 3)


def test_freed_nodes_and_hooks_are_said():
    x = leaf(3)
    h = agrad.exp(x)
    y = (h * h).sum()
    h.register_hook(lambda g: None)
    assert viz.graph(y).boxes[1].memory() == "24 B, keeps 24 B, hooks"
    y.backward()
    graph = viz.graph(y)
    assert [box.is_freed for box in graph.boxes] == [False, True, True, False]
    assert [box.shape for box in graph.boxes] == [(3,), (3,), (3,), ()]
    assert 'stroke-dasharray' in graph.svg()
    assert "BackwardS" not in viz.make_dot(y, show_attrs=True, show_saved=True).source


def test_graphs_inside_transforms():
    seen = []

    def loss(w):
        t = (agrad.tanh(w) * w).sum()
        seen.append(str(viz.graph(t)))
        return t

    agrad.func.grad(loss)(agrad.ones(3))
    agrad.vmap(agrad.func.grad(loss))(agrad.ones((2, 3)))
    x = leaf(3)
    (g,) = agrad.autograd.grad(loss(x), x, create_graph=True)
    assert viz.graph(g).leaves == 1
    assert len(seen) == 3
    assert len(set(seen)) == 1
    outer = agrad.vmap(lambda row: (row * x).sum())(agrad.ones((2, 3)))
    assert [box.title for box in viz.graph(outer, {"x": x}).boxes] == ["x", "multiply", "sum"]


def test_a_picture_keeps_nothing_alive():
    array = np.ones(1000)
    x = agrad.asarray(array).requires_grad_()
    h = agrad.exp(x)
    gone = [weakref.ref(x), weakref.ref(h.detach().array), weakref.ref(array)]
    graph = viz.graph((h * h).sum(), {"x": x})
    del x, h, array
    gc.collect()
    assert [ref() for ref in gone] == [None, None, None]
    assert "exp" in str(graph)


def test_two_runs_draw_the_same(program):
    def drawn():
        root, params = made(program)
        graph = viz.graph(root, params)
        return str(graph), graph.svg(), graph.mermaid(), viz.make_dot(root, params, True, True).source

    assert drawn() == drawn()


# ----------------------------------------------------------------------------------------------------------- large ones


def test_a_graph_of_a_hundred_thousand_nodes_is_cut():
    x = t = leaf()
    for _ in range(100_000):
        t = t + 1
    graph = viz.graph(t, max_boxes=50)
    assert (graph.nodes, len(graph.boxes), graph.left_out) == (100_000, 51, 99_951)
    assert "99,951 more" in str(graph)
    assert "99,951 more" in graph.svg()
    assert viz.make_dot(t, {"x": x}).source.count("AddBackward0") == 2000
    assert sum(box.size for box in graph.boxes) == graph.nodes + graph.leaves


def test_wide_and_doubling_graphs_are_drawn():
    many = [leaf(2) for _ in range(1000)]
    graph = viz.graph(agrad.concat(many), max_boxes=2000)
    assert len(graph.edges) == 1000
    ElementTree.fromstring(graph.svg())
    t = leaf()
    for _ in range(60):         # 2**60 ways
        t = t + t
    graph = viz.graph(t)
    assert (len(graph.boxes), len(graph.edges)) == (61, 120)
    assert len(str(graph).splitlines()) == 121
    ElementTree.fromstring(graph.svg())


# -------------------------------------------------------------------------------------------------------------- formats

AWKWARD = [
    "a<b>&\"c'", "back\\slash", "line\nbreak", "\x00\x1b[0m", "#35; `x` | y", "end", "日本語 😀", "a" * 300, "]-->(",
    "%%{",
]


@pytest.mark.parametrize("name", AWKWARD, ids=range(len(AWKWARD)))
def test_names_are_escaped(name):
    x = leaf(2)
    graph = viz.graph((x * 2).sum(), {name: x})
    shown = "".join(c if c.isprintable() else "\ufffd" for c in " ".join(name.split()))
    titles = [title.text for title in ElementTree.fromstring(graph.svg()).iter(f"{SVG}title")]
    assert any(title.startswith(shown) for title in titles)
    assert str(graph).splitlines()[2].startswith(f"{shown}  (2,)")
    nodes = [line for line in graph.mermaid().splitlines() if ":::" in line]
    assert len(nodes) == 3
    for line in nodes:
        assert re.fullmatch(r'  n\d+(\(\["[^"]*"\]\)|\["[^"]*"\]):::\w+', line)
        label = re.search(r'"(.*)"', line)[1].replace("<br/>", "")
        assert not re.search(r"[<>`|\\]", re.sub(r"#\d+;", "", label))
    read_back = re.sub(r"#(\d+);", lambda found: chr(int(found[1])), nodes[0])
    assert shown in read_back
    source = viz.make_dot((x * 2).sum(), {name: x}).source
    quoted = re.sub(r'"(?:[^"\\]|\\.)*"', "Q", source, flags=re.DOTALL)
    assert quoted.count("{") == quoted.count("}") == 1
    assert '"' not in quoted


def test_the_svg_has_every_box_and_line_inside_its_frame(program):
    root, params = made(program)
    graph = viz.graph(root, params)
    picture = ElementTree.fromstring(graph.svg())
    assert len(picture.findall(f"{SVG}g")) == len(graph.boxes)
    assert len([path for path in picture.findall(f"{SVG}path") if path.get("class") == "edge"]) == len(graph.edges)
    left, top, width, height = map(float, picture.get("viewBox").split())
    boxes = [[float(rect.get(side)) for side in ("x", "y", "width", "height")] for rect in picture.iter(f"{SVG}rect")]
    for x, y, w, h in boxes:
        assert left <= x
        assert x + w <= left + width
        assert top <= y
        assert y + h <= top + height
    for (x, y, w, h), (x2, y2, w2, h2) in itertools.combinations(boxes, 2):
        assert x + w <= x2 or x2 + w2 <= x or y + h <= y2 or y2 + h2 <= y, "two boxes overlap"
    for (source, target), path in zip(graph.edges, picture.findall(f"{SVG}path"), strict=True):
        numbers = [float(n) for n in re.findall(r"-?[\d.]+", path.get("d"))]
        (x, y, w, h), (x2, y2, w2, _) = boxes[source], boxes[target]
        assert numbers[:2] == pytest.approx([x + w / 2, y + h], abs=0.11)
        assert numbers[-2:] == pytest.approx([x2 + w2 / 2, y2], abs=0.11)


def test_the_text_is_a_tree_from_the_result():
    x, w, b = leaf(3), leaf(3), leaf()
    h = x * w
    assert str(viz.graph((agrad.exp(h) + h + b).sum(), {"x": x, "w": w, "b": b})) == """\
sum  () float64  8 B
add  (3,) float64  24 B
├─ add  (3,) float64  24 B
│  ├─ exp  (3,) float64  24 B, keeps 24 B
│  │  multiply  #1  (3,) float64  24 B
│  │  ├─ x  (3,) float64  24 B
│  │  └─ w  (3,) float64  24 B
│  └─ multiply  #1 again
└─ b  () float64  8 B"""


def test_mermaid_has_every_line(program):
    root, params = made(program)
    graph = viz.graph(root, params)
    lines = re.findall(r"^  n(\d+) --> n(\d+)$", graph.mermaid(), re.MULTILINE)
    assert [(int(a), int(b)) for a, b in lines] == graph.edges
    classes = set(re.findall(r":::(\w+)", graph.mermaid()))
    assert classes == set(re.findall(r"classDef (\w+) ", graph.mermaid()))


def test_graphs_are_saved_as_their_names_end(tmp_path):
    graph = viz.graph(leaf(2) * 2)
    for ending, text in {".svg": graph._repr_svg_(), ".mmd": graph.mermaid(), ".txt": str(graph)}.items():
        graph.save(tmp_path / f"graph{ending}")
        assert (tmp_path / f"graph{ending}").read_text(encoding="utf-8") == text
    with pytest.raises(ValueError, match=r"graph\.png.*\.svg, \.mmd, \.txt"):
        graph.save(tmp_path / "graph.png")


# ------------------------------------------------------------------------------------------------------------- graphviz


def test_make_dot_has_the_boxes_and_colours_of_torchviz():
    x, w = leaf(2, 3), leaf(3, 4)
    dot = viz.make_dot(agrad.tanh(x @ w).mean(), params={"weight": w, "x": x})
    source = dot.source
    assert source.startswith("digraph {")
    for name in ("MmBackward0", "TanhBackward0", "MeanBackward0", "AccumulateGrad"):
        assert name in source
    assert source.count("fillcolor=lightblue") == 2
    assert source.count("fillcolor=darkolivegreen1") == 1
    assert source.count("->") == 2 * 2 + 2 + 1      # leaves through their nodes, operations, the result
    assert "orange" not in source
    assert re.search(r'label="weight\n \(3, 4\) float64\n 96 B"', source)


def test_make_dot_shows_what_nodes_saved():
    x, w = leaf(2, 3), leaf(3, 4)
    y = agrad.tanh(x @ w).sum(axis=0).sum()
    source = viz.make_dot(y, {"x": x}, show_attrs=True, show_saved=True).source
    assert source.count("fillcolor=orange") == 3
    assert "other: [saved tensor (3, 4)]" in source
    assert "dim: " in source
    custom = viz.make_dot(several_results(x, leaf(3, 4), leaf(4)), show_attrs=True, show_saved=True).source
    assert "saved_tensors: [saved tensors: 1]" in custom
    x.detach()[0] = 2.0
    assert "[written over]" in viz.make_dot(y, show_attrs=True).source


def test_make_dot_takes_modules_and_named_parameters():
    layer = Affine(3, 2)
    y = layer(agrad.ones((1, 3))).sum()
    expected = viz.make_dot(y, dict(layer.named_parameters())).source
    assert "weight" in expected
    assert viz.make_dot(y, layer).source == viz.make_dot(y, layer.named_parameters()).source == expected


def test_without_graphviz_make_dot_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "graphviz", None)
    with pytest.raises(ImportError, match=r"pip install 'agrad\[viz\]'"):
        viz.make_dot(leaf(2))


def test_dot_renders():
    if shutil.which("dot") is None:
        pytest.skip("the program dot of Graphviz is not installed")
    dot = viz.make_dot(made(mlp)[0])
    ElementTree.fromstring(dot.pipe(format="svg"))
    assert dot.pipe(format="png").startswith(b"\x89PNG")


# -------------------------------------------------------------------------------------------------------------- folding


class Affine(nn.Module):
    def __init__(self, n, m):
        super().__init__()
        self.weight, self.bias = nn.Parameter(agrad.ones((n, m))), nn.Parameter(agrad.zeros(m))

    def forward(self, x):
        return x @ self.weight + self.bias


class Block(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.inner, self.outer = Affine(n, n), Affine(n, n)

    def forward(self, x):
        return x + self.outer(agrad.tanh(self.inner(x)))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.block, self.last = Affine(3, 4), Block(4), Affine(4, 2)

    def forward(self, x):
        return self.last(agrad.relu(self.block(self.first(x))))


def folded(model, x, depth, **more):
    with viz.scopes(model) as scopes:
        out = model(x)
    return viz.graph(out, scopes=scopes, depth=depth, **more)


def test_modules_are_folded_by_depth():
    model, x = Net(), agrad.ones((5, 3))
    titles = {depth: [box.title for box in folded(model, x, depth).boxes] for depth in (0, 1, 2)}
    assert titles[0] == ["Net"]
    assert titles[1] == ["first", "block", "relu", "last"]
    assert titles[2] == ["first", "block.inner", "tanh", "block.outer", "add", "relu", "last"]
    whole = folded(model, x, None)
    assert {box.title for box in whole.boxes if box.kind == "leaf"} == {name for name, _ in model.named_parameters()}
    for depth in (0, 1, 2):
        graph = folded(model, x, depth)
        assert sum(box.size for box in graph.boxes) == len(whole.boxes)
        assert sum(box.kept for box in graph.boxes) == sum(box.kept for box in whole.boxes)
        ElementTree.fromstring(graph.svg())


def test_a_folded_module_says_what_is_in_it():
    (box,) = [box for box in folded(Net(), agrad.ones((5, 3)), 1).boxes if box.title == "block"]
    assert box.notes == ("Block, 6 nodes", "40 parameters, 320 B")
    assert (box.shape, box.dtype, box.bytes) == ((5, 4), "float64", 160)


def test_calls_of_one_module_are_numbered_and_chained():
    cell = Block(4)

    class Loop(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = cell

        def forward(self, x):
            for _ in range(3):
                x = self.cell(x)
            return x

    x = leaf(2, 4)
    graph = folded(Loop(), x, 1, params={"x": x})
    assert [box.title for box in graph.boxes] == ["x", "cell, call 1", "cell, call 2", "cell, call 3"]
    assert graph.edges == [(0, 1), (1, 2), (2, 3)]
    assert sum(box.size for box in graph.boxes) == graph.nodes + graph.leaves


def test_parameters_that_others_use_too_stay_outside():
    model = Net()
    with viz.scopes(model) as scopes:
        out = model(agrad.ones((5, 3)))
    graph = viz.graph(out.sum() + (model.last.weight ** 2).sum(), scopes=scopes)
    assert [box.title for box in graph.boxes if box.kind == "leaf"] == ["last.weight"]
    titles = [box.title for box in graph.boxes]
    assert (titles.index("last.weight"), titles.index("last")) in graph.edges


def test_inputs_that_require_grad_stay_outside():
    x = leaf(5, 3)
    assert [box.title for box in folded(Net(), x, 0, params={"input": x}).boxes] == ["input", "Net"]


def test_a_forward_that_raises_leaves_the_scopes_whole():
    model = Net()
    with viz.scopes(model) as scopes:
        with pytest.raises(ValueError, match="matmul"):
            model(agrad.ones((5, 7)))
        out = model(agrad.ones((5, 3)))
    assert [box.title for box in viz.graph(out, scopes=scopes).boxes] == [
        "first, call 2", "block", "relu", "last",
    ]
    assert scopes.calls[-1].depth == 1
    assert [call.depth for call in scopes.calls[:2]] == [0, 1]


def test_a_picture_may_be_made_while_the_model_is_watched():
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh())
    with viz.scopes(model) as scopes:
        graph = viz.graph(model(agrad.ones((2, 3))), scopes=scopes)
    assert [box.title for box in graph.boxes] == ["0", "1"]


def test_modules_that_were_taken_away_since_are_drawn():
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 1))
    with viz.scopes(model) as scopes:
        out = model(agrad.ones((2, 3)))
        del model[1]
    assert [box.title for box in viz.graph(out, scopes=scopes).boxes] == ["0", "1"]


def test_scopes_are_entered_once():
    scopes = viz.scopes(nn.Tanh())
    with scopes, pytest.raises(RuntimeError, match="entered before"):
        scopes.__enter__()
    with pytest.raises(RuntimeError, match="entered before"), scopes:
        pass


def test_scopes_end_with_their_context_and_keep_no_parameter():
    model = Net()
    with viz.scopes(model) as scopes:
        out = model(agrad.ones((5, 3)))
    n = len(scopes.calls)
    model(agrad.ones((5, 3)))
    assert len(scopes.calls) == n
    gone = weakref.ref(model.first.weight)
    del model, out
    gc.collect()
    assert gone() is None
    with pytest.raises(TypeError, match="expected a Module, got type"), viz.scopes(Affine):
        pass


def test_a_long_recurrence_is_folded_and_cut():
    cell = Affine(2, 2)
    with viz.scopes(cell) as scopes:
        h = agrad.zeros((1, 2))
        for _ in range(2000):
            h = cell(h)
    graph = viz.graph(h, scopes=scopes, depth=0, max_boxes=100)
    assert len(graph.boxes) == 101
    assert graph.left_out == 4000 + 2 - sum(box.size for box in graph.boxes if box.kind == "module")
    assert len(viz.make_dot(h, scopes=scopes, depth=0).source) < 500_000


# --------------------------------------------------------------------------------------------------------------- layout


def test_layers_put_operands_above_and_near_their_uses():
    edges = [(0, 1), (1, 2), (2, 3), (4, 3), (5, 1)]
    assert layers_of(6, edges) == [0, 1, 2, 3, 2, 0]
    assert len(set(layers_of(3, [(0, 1), (1, 2), (2, 0)]))) == 3, "a circle ends"
    assert layers_of(1, [(0, 0)]) == [0]
    assert arrange([], []).width == 0


def test_neighbours_keep_their_distance():
    random = np.random.default_rng(3)
    for _ in range(20):
        n = int(random.integers(2, 40))
        pairs = random.integers(0, n, (3 * n, 2))
        edges = [(int(a), int(b)) for a, b in pairs if a < b]
        widths = [float(w) for w in random.integers(10, 90, n)]
        layout = arrange(widths, edges)
        assert all(layout.layers[a] < layout.layers[b] for a, b in edges)
        for a, b in itertools.combinations(range(n), 2):
            if layout.layers[a] == layout.layers[b]:
                assert abs(layout.x[a] - layout.x[b]) >= (widths[a] + widths[b]) / 2 + GAP - 1e-6
        for (a, b), way in zip(edges, layout.ways, strict=True):
            assert [layer for _, layer in way] == list(range(layout.layers[a] + 1, layout.layers[b]))


def test_a_chain_is_straight():
    layout = arrange([50.0, 120.0, 30.0, 80.0], [(0, 1), (1, 2), (2, 3)])
    assert layout.x == pytest.approx([60.0] * 4)


# ------------------------------------------------------------------------------------------------------------ gradients


def with_gradients(**gradients):
    params = {name: leaf(2) for name in gradients}
    for name, g in gradients.items():
        params[name].grad = None if g is None else agrad.asarray(g)
    return params


def test_gradients_that_are_missing_zero_small_large_and_wrong_are_told_apart():
    flow = viz.plot_gradients(with_gradients(
        fine=[1.0, -3.0], none=None, zero=[0.0, 0.0], small=[1e-9, 0.0], large=[1e5, 1.0], nan=[float("nan"), 1.0],
        inf=[float("inf"), 1.0],
    ))
    assert [(row.name, row.state) for row in flow.rows] == [
        ("fine", "fine"), ("none", "none"), ("zero", "zero"), ("small", "vanishing"), ("large", "exploding"),
        ("nan", "not finite"), ("inf", "not finite"),
    ]
    assert (flow.rows[0].mean, flow.rows[0].largest, flow.rows[1].mean) == (2.0, 3.0, None)
    lines = str(flow).splitlines()
    assert len(lines) == 7
    assert "mean 2.0e+00, max 3.0e+00" in lines[0]
    assert lines[1].endswith("None: no backward pass reached it")
    assert lines[2].endswith("0: reached, but with nothing")
    picture = ElementTree.fromstring(flow._repr_svg_())
    groups = [group.get("class") for group in picture.findall(f"{SVG}g")]
    assert groups == ["fine", "none", "zero", "vanishing", "exploding", "not-finite", "not-finite"]
    widths = [float(group.findall(f"{SVG}rect")[0].get("width")) for group in picture.findall(f"{SVG}g")]
    assert widths[1] == widths[2] == 0
    assert widths[3] < widths[0] < widths[4] <= widths[5]


@pytest.mark.parametrize("name", AWKWARD, ids=range(len(AWKWARD)))
def test_names_of_gradients_are_escaped(name):
    ElementTree.fromstring(viz.plot_gradients([(name, leaf(2))]).svg())


def test_gradients_of_a_module_on_every_backend(backend):
    layer = Affine(3, 2)
    layer(agrad.ones((4, 3))).sum().backward()
    flow = viz.plot_gradients(layer)
    assert [(row.name, row.mean, row.largest) for row in flow.rows] == [("weight", 4.0, 4.0), ("bias", 4.0, 4.0)]
    assert str(viz.plot_gradients([])) == ""
    ElementTree.fromstring(viz.plot_gradients([]).svg())


def test_a_frozen_parameter_is_said_to_be_frozen():
    (row,) = viz.plot_gradients({"w": agrad.ones(2)}).rows
    assert row.state == "frozen"
    assert "does not require grad" in str(viz.plot_gradients({"w": agrad.ones(2)}))


def test_complex_and_empty_gradients():
    z = agrad.asarray([3 + 4j]).requires_grad_()
    z.grad = agrad.asarray([3 + 4j])
    empty = leaf(0)
    empty.sum().backward()
    rows = viz.plot_gradients({"z": z, "empty": empty}).rows
    assert (rows[0].largest, rows[1].state) == (5.0, "zero")


class Axes:
    """Notes what is called, in matplotlib's place."""

    def __init__(self):
        self.called = []

    def __getattr__(self, name):
        return lambda *args, **kwargs: self.called.append((name, args, kwargs))


def test_bars_are_drawn_on_axes_that_are_given():
    ax = Axes()
    viz.plot_gradients(with_gradients(a=[1.0, 3.0], b=None), ax=ax)
    bars = [args[1] for name, args, _ in ax.called if name == "barh"]
    assert bars == [[3.0, 0.0], [2.0, 0.0]]
    assert [args[1] for name, args, _ in ax.called if name == "set_yticks"] == [["a", "b (none)"]]


# --------------------------------------------------------------------------------------------------------------- README


def test_the_picture_of_the_readme_is_what_its_program_draws():
    tool = SOURCE / "tools" / "picture.py"
    if not tool.is_file():
        pytest.skip(f"no tools/ in {SOURCE}; set AGRAD_SOURCE to the source tree")
    spec = importlib.util.spec_from_file_location("picture", tool)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.graph().svg() == (SOURCE / "docs" / "graph.svg").read_text(encoding="utf-8")
