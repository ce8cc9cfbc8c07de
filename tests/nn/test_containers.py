"""Sequential, ModuleList, ModuleDict, ParameterList, ParameterDict: the same programs with torch.nn and agrad.nn."""

from collections import OrderedDict

import pytest
from module_programs import names, said, then

import agrad


def unit(m, factor):
    """A small module that is known by a number."""

    class Unit(m.nn.Module):
        def __init__(self):
            super().__init__()
            self.factor = m.nn.Parameter(m.asarray(float(factor), dtype=m.float64))

        def forward(self, x):
            return x * self.factor + 1

        def extra_repr(self):
            return str(factor)

    return Unit()


def units(m, *factors):
    return [unit(m, factor) for factor in factors]


def ones(m, *shape):
    return m.ones(shape, dtype=m.float32)


def sequential(m):
    return m.nn.Sequential(*units(m, 2, 3, 5))


def module_list(m):
    return m.nn.ModuleList(units(m, 2, 3, 3, 5))


def module_dict(m):
    return m.nn.ModuleDict({"b": unit(m, 2), "a": unit(m, 3)})


def parameter_list(m):
    return m.nn.ParameterList([m.ones((2, 3), dtype=m.float64), m.zeros((2,), dtype=m.float64), 3, "a", unit(m, 7)])


def parameter_dict(m):
    return m.nn.ParameterDict({"b": ones(m, 2), "a": 3, "d": ones(m), "c": unit(m, 7)})


def state(module):
    """Everything that is to be the same."""
    return [repr(module), list(module.state_dict()), names(module.named_parameters()), len(module)]


def after(make, change):
    """What a change gives, and the container afterwards."""

    def program(m):
        container = make(m)
        answer = said(lambda: change(container, m))
        if hasattr(answer, "named_parameters"):
            answer = "itself" if answer is container else repr(answer)
        return [answer, state(container)]

    return program


SEQUENCES = {
    "append": lambda c, m: c.append(unit(m, 7)),
    "append what is no module": lambda c, m: c.append(3),
    "extend": lambda c, m: c.extend(units(m, 7, 8)),
    "pop": lambda c, m: c.pop(0),
    "pop the last": lambda c, m: c.pop(-1),
    "pop too far": lambda c, m: c.pop(9),
    "delete": lambda c, m: c.__delitem__(1),
    "delete the last": lambda c, m: c.__delitem__(-1),
    "delete several": lambda c, m: c.__delitem__(slice(0, 2)),
    "delete every other": lambda c, m: c.__delitem__(slice(None, None, 2)),
    "delete too far": lambda c, m: c.__delitem__(9),
    "set": lambda c, m: c.__setitem__(1, unit(m, 7)),
    "set the last": lambda c, m: c.__setitem__(-1, unit(m, 7)),
    "set too far": lambda c, m: c.__setitem__(9, unit(m, 7)),
    "set what is no module": lambda c, m: c.__setitem__(1, 3),
    "insert first": lambda c, m: c.insert(0, unit(m, 7)),
    "insert": lambda c, m: c.insert(2, unit(m, 7)),
    "insert last": lambda c, m: c.insert(len(c), unit(m, 7)),
    "get": lambda c, m: [repr(c[0]), repr(c[-1])],
    "get too far": lambda c, m: c[9],
    "get by a float": lambda c, m: c[0.5],
    "iterate": lambda c, m: [repr(module) for module in c],
    "slices": lambda c, m: [repr(c[1:]), repr(c[::2]), repr(c[::-1]), repr(c[5:])],
    "a slice and more": lambda c, m: repr(c[:1].append(unit(m, 7))),
    "a slice holds the same modules": lambda c, m: c[:1][0] is c[0],
    "contained": lambda c, m: [c[0] in c, 3 in c],
    "dir": lambda c, m: ["0" in dir(c), "append" in dir(c)],
    "+=": lambda c, m: c.__iadd__(type(c)(*([units(m, 7)] if isinstance(c, m.nn.ModuleList) else units(m, 7)))),
    "+": lambda c, m: repr(c + type(c)(*([units(m, 7)] if isinstance(c, m.nn.ModuleList) else units(m, 7)))),
}
SEQUENTIALS = {
    "call": lambda c, m: c(m.ones(2, dtype=m.float64)),
    "insert too far": lambda c, m: c.insert(9, unit(m, 7)),
    "+ what is none": lambda c, m: c + 3,
    "+= what is none": lambda c, m: c.__iadd__([3]),
    "times": lambda c, m: [repr(c * 2), repr(2 * c)],
    "times in place": lambda c, m: c.__imul__(2),
    "times nothing": lambda c, m: c * 0,
    "times in place nothing": lambda c, m: c.__imul__(-1),
}
DICTS = {
    "get": lambda c, m: repr(c["b"]),
    "set": lambda c, m: c.__setitem__("e", unit(m, 7)),
    "set again": lambda c, m: c.__setitem__("b", unit(m, 7)),
    "delete": lambda c, m: c.__delitem__("b"),
    "pop": lambda c, m: repr(c.pop("a")),
    "clear": lambda c, m: c.clear(),
    "keys": lambda c, m: list(c.keys()),
    "values": lambda c, m: [type(value).__name__ for value in c.values()],
    "items": lambda c, m: [key for key, value in c.items()],
    "iterate": lambda c, m: list(c),
    "contained": lambda c, m: ["b" in c, "z" in c, "training" in c],
    "update": lambda c, m: c.update({"z": unit(m, 7), "y": unit(m, 8), "b": unit(m, 9)}),
    "update in an order": lambda c, m: c.update(OrderedDict([("z", unit(m, 7)), ("y", unit(m, 8))])),
    "update by pairs": lambda c, m: c.update([("z", unit(m, 7)), ("y", unit(m, 8))]),
    "update by another": lambda c, m: c.update(type(c)({"z": unit(m, 7)})),
    "update by nothing": lambda c, m: c.update(3),
    "update by no pairs": lambda c, m: c.update([("a", unit(m, 7), 3)]),
    "a name that is taken": lambda c, m: c.__setitem__("forward", unit(m, 7)),
    "a name with a dot": lambda c, m: c.__setitem__("a.b", unit(m, 7)),
}
PROGRAMS = {
    **{f"Sequential: {name}": after(sequential, change) for name, change in (SEQUENCES | SEQUENTIALS).items()},
    **{f"ModuleList: {name}": after(module_list, change) for name, change in SEQUENCES.items()
       if name != "a slice and more"},
    **{f"ModuleDict: {name}": after(module_dict, change) for name, change in DICTS.items()},
    **{f"ParameterDict: {name}": after(parameter_dict, change) for name, change in DICTS.items()
       if not name.startswith("a name")},   # PyTorch notes the key, and the dict is broken
    "Sequential: empty": lambda m: state(m.nn.Sequential()),
    "Sequential: empty, called": lambda m: m.nn.Sequential()(3),
    "Sequential: named": lambda m: state(m.nn.Sequential(OrderedDict([("b", unit(m, 2)), ("a", unit(m, 3))]))),
    "Sequential: a slice of a named one": lambda m: state(
        m.nn.Sequential(OrderedDict([("b", unit(m, 2)), ("a", unit(m, 3))]))[1:]),
    "Sequential: a named one set": after(
        lambda m: m.nn.Sequential(OrderedDict([("b", unit(m, 2)), ("a", unit(m, 3))])),
        lambda c, m: c.__setitem__(0, unit(m, 7))),
    "Sequential: a part by attribute": lambda m: repr(
        m.nn.Sequential(OrderedDict([("b", unit(m, 2)), ("a", unit(m, 3))])).a),
    "Sequential: of a number": lambda m: m.nn.Sequential(3),
    "Sequential: of a list": lambda m: m.nn.Sequential(units(m, 2)),
    "Sequential: of a dict": lambda m: m.nn.Sequential({"a": unit(m, 2)}),
    "Sequential: a subclass": lambda m: repr(type("Mine", (m.nn.Sequential,), {})(unit(m, 2), unit(m, 3))[1:]),
    "Sequential: one module twice": lambda m: (lambda one: [
        state(m.nn.Sequential(one, one)), m.nn.Sequential(one, one)(m.ones((), dtype=m.float64))])(unit(m, 2)),
    "Sequential: in one another": lambda m: state(m.nn.Sequential(sequential(m), unit(m, 9))),
    "ModuleList: empty": lambda m: state(m.nn.ModuleList()),
    "ModuleList: of a generator": lambda m: state(m.nn.ModuleList(unit(m, i // 2) for i in range(6))),
    "ModuleList: texts of several lines": lambda m: repr(m.nn.ModuleList([sequential(m), sequential(m), unit(m, 2)])),
    "ModuleList: of a number": lambda m: m.nn.ModuleList(3),
    "ModuleList: of a module": lambda m: m.nn.ModuleList(unit(m, 2)),
    "ModuleList: of numbers": lambda m: m.nn.ModuleList([3]),
    "ModuleList: called": lambda m: module_list(m)(3),
    "ModuleList: + a list": lambda m: repr(module_list(m) + units(m, 7)),
    "ModuleDict: empty": lambda m: state(m.nn.ModuleDict()),
    "ModuleDict: of pairs": lambda m: state(m.nn.ModuleDict([("b", unit(m, 2)), ("a", unit(m, 3))])),
    "ModuleDict: a missing key": lambda m: module_dict(m)["z"],
    "ModuleDict: a missing key deleted": lambda m: module_dict(m).__delitem__("z"),
    "ModuleDict: an attribute is no key": lambda m: module_dict(m)["training"],
    "ModuleDict: a key that is no string": lambda m: m.nn.ModuleDict({3: unit(m, 2)}),
    "ModuleDict: of numbers": lambda m: m.nn.ModuleDict({"a": 3}),
    "ParameterList": lambda m: state(parameter_list(m)),
    "ParameterList: one": lambda m: state(m.nn.ParameterList([ones(m, 2)])),
    "ParameterList: empty": lambda m: state(m.nn.ParameterList()),
    "ParameterList: Tensors become Parameters": lambda m: [type(p).__name__ for p in parameter_list(m)],
    "ParameterList: a Parameter stays itself": lambda m: (lambda p: m.nn.ParameterList([p])[0] is p)(
        m.nn.Parameter(ones(m, 2))),
    "ParameterList: append": after(parameter_list, lambda c, m: c.append(ones(m, 2))),
    "ParameterList: extend": after(parameter_list, lambda c, m: c.extend([ones(m, 2), 4])),
    "ParameterList: +=": after(parameter_list, lambda c, m: c.__iadd__([ones(m, 2), 4])),
    "ParameterList: extend by a tensor": after(parameter_list, lambda c, m: c.extend(ones(m, 2))),
    "ParameterList: set": after(parameter_list, lambda c, m: c.__setitem__(0, ones(m, 4))),
    "ParameterList: set wrongly": after(parameter_list, lambda c, m: c.__setitem__(0, 3)),
    "ParameterList: set too far": after(parameter_list, lambda c, m: c.__setitem__(9, 3)),
    "ParameterList: get": lambda m: [parameter_list(m)[1], parameter_list(m)[-3], repr(parameter_list(m)[1:3])],
    "ParameterList: get too far": lambda m: parameter_list(m)[-6],
    "ParameterList: iterate": lambda m: [str(p) for p in parameter_list(m)][2:],
    "ParameterList: called": lambda m: parameter_list(m)(3),
    "ParameterList: of a number": lambda m: m.nn.ParameterList(3),
    "ParameterDict: in the order of its keys": lambda m: state(parameter_dict(m)),
    "ParameterDict: in its own order": lambda m: names(
        m.nn.ParameterDict(OrderedDict([("b", ones(m, 2)), ("a", ones(m, 2))])).named_parameters()),
    "ParameterDict: by pairs": lambda m: names(
        m.nn.ParameterDict([("b", ones(m, 2)), ("a", ones(m, 2))]).named_parameters()),
    "ParameterDict: empty": lambda m: state(m.nn.ParameterDict()),
    "ParameterDict: get": lambda m: [parameter_dict(m).get("a"), parameter_dict(m).get("z"),
                                     parameter_dict(m).get("z", 5)],
    "ParameterDict: setdefault": after(parameter_dict, lambda c, m: [c.setdefault("a", 7), c.setdefault("z", 8)]),
    "ParameterDict: popitem": after(parameter_dict, lambda c, m: c.popitem()[0]),
    "ParameterDict: fromkeys": lambda m: repr(m.nn.ParameterDict().fromkeys(["b", "a"], 3)),
    "ParameterDict: copy": lambda m: (lambda c: [repr(c.copy()), c.copy()["b"] is c["b"]])(parameter_dict(m)),
    "ParameterDict: |": lambda m: repr(parameter_dict(m) | m.nn.ParameterDict({"a": 9, "z": 3})),
    "ParameterDict: | a dict": lambda m: repr(parameter_dict(m) | {"a": 9, "z": 3}),
    "ParameterDict: |=": after(parameter_dict, lambda c, m: c.__ior__({"z": ones(m, 1)})),
    "ParameterDict: reversed": lambda m: list(reversed(parameter_dict(m))),
    "ParameterDict: called": lambda m: parameter_dict(m)(3),
}


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_containers_do_what_torchs_do(program):
    torch = pytest.importorskip("torch")
    expected = said(lambda: program(torch))
    found = said(lambda: program(agrad))
    assert found == expected


def test_a_container_that_refuses_stays_as_it_is():
    for make in (sequential, module_list):
        container = make(agrad)
        before = state(container)
        for change in (lambda c: c.insert(1, 3), lambda c: c.append(3), lambda c: c.__setitem__(0, 3)):
            with pytest.raises(TypeError, match="int"):
                change(container)
        assert state(container) == before


def test_a_sequence_may_be_extended_by_itself():
    for make in (sequential, module_list):
        container = make(agrad)
        n = len(container)
        assert [module.factor.item() for module in container.extend(container)][n:] == [
            module.factor.item() for module in container][:n]


def test_a_slice_keeps_numbers_and_still_grows():
    net = sequential(agrad)[1:]
    assert list(net.state_dict()) == ["1.factor", "2.factor"]
    net.append(unit(agrad, 7))
    assert list(net.state_dict()) == ["0.factor", "1.factor", "2.factor"]


def test_keys_of_parameters_are_strings_and_no_attributes():
    with pytest.raises(TypeError, match="the keys of a ParameterDict are strings, got 3"):
        agrad.nn.ParameterDict({3: agrad.ones(2)})
    with pytest.raises(KeyError, match="attribute 'forward' already exists"):
        agrad.nn.ParameterDict({"forward": agrad.ones(2)})
    parameters = agrad.nn.ParameterDict()
    with pytest.raises(KeyError, match="parameter name can"):
        parameters["a.b"] = agrad.ones(2)
    assert len(parameters) == 0
    with pytest.raises(KeyError, match="'z'"):
        agrad.nn.ParameterDict()["z"]


def test_containers_of_parameters_take_part_in_modules():
    class Net(agrad.nn.Module):
        def __init__(self):
            super().__init__()
            self.list = agrad.nn.ParameterList([agrad.ones(2), agrad.ones(2)])
            self.dict = agrad.nn.ParameterDict({"a": agrad.ones(2)})

        def forward(self, x):
            return (x * self.list[0] + self.list[1]) * self.dict["a"]

    net = Net()
    assert names(net.named_parameters()) == ["list.0", "list.1", "dict.a"]
    net(agrad.ones(2)).sum().backward()
    assert [p.grad.tolist() for p in net.parameters()] == [[1.0, 1.0], [1.0, 1.0], [2.0, 2.0]]
    assert then(lambda: net.load_state_dict({name: [3.0, 3.0] for name in net.state_dict()}),
                lambda: net.dict["a"].tolist()) == [[3.0, 3.0]]
