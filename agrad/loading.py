"""Finding rule sets: entry points, who owns a prefix, which overrides act, and the kernel of an op on a backend.

A rule set is loaded when one of its names is first used: the engine asks here. Must know no single backend and no
single rule.
"""

import re
from _thread import RLock  # threading itself takes two milliseconds to import
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib import import_module
from inspect import signature as python_signature
from typing import Any, NamedTuple

from agrad import configuration, standard
from agrad.cython_core import engine
from agrad.cython_core.engine import Op, Rule
from agrad.records import RuleError
from agrad.rule_set import RuleSet

GROUP = "agrad.plugins"


class PluginInfo(NamedTuple):
    """A plugin as `python -m agrad info` shows it."""

    name: str
    distribution: str
    version: str
    ops: int | None
    error: str | None


loaded: dict[tuple[str, str], RuleSet] = {}     # (entry point, distribution) -> its rule set; nothing acts yet
owners: dict[str, RuleSet | None] = {}          # prefix -> the rule set whose ops and rules act
loading = RLock()                               # one thread loads; a plugin may use another's ops while it is loaded


@cache
def entry_points() -> tuple[Any, ...]:
    """All entry points of the group, agrad's first."""
    from importlib import metadata  # when the first op is used, not with agrad

    found = metadata.entry_points(group=GROUP)
    return tuple(sorted(found, key=lambda e: (e.dist.name != "agrad", e.dist.name, e.name)))


def same_distribution(one: str, other: str) -> bool:
    """Whether two names mean one distribution: "agrad_physics" is "agrad-physics"."""
    return re.sub(r"[-_.]+", "-", one).lower() == re.sub(r"[-_.]+", "-", other).lower()


def load(entry: Any) -> RuleSet:
    """Import a plugin's rule set and check it; a failure names the plugin and keeps its cause."""
    key = (entry.name, entry.dist.name)
    with loading:
        if key not in loaded:
            origin = f"{entry.name} ({entry.dist.name} {entry.dist.version})"
            try:
                rules = entry.load()
                if not isinstance(rules, RuleSet):
                    raise RuleError(f"{entry.value} must be a RuleSet, it is {type(rules).__name__}")
                rules.check(entry.name)
            except Exception as error:
                raise RuntimeError(f"the plugin {origin} cannot be loaded: {type(error).__name__}: {error}") from error
            rules.origin = origin
            loaded[key] = rules
    return loaded[key]


def claims(entry: Any) -> bool:
    """Whether an entry point wants to own its prefix: all but overrides; one that cannot be loaded may well want to."""
    try:
        return not load(entry).override
    except RuntimeError:
        return True


def owner_of(prefix: str) -> Any:
    """The entry point that owns a prefix, None if there is none: agrad's, else the preferred one, else the only one."""
    found = [e for e in entry_points() if e.name == prefix]
    if found and found[0].dist.name == "agrad":
        return found[0]
    for name in configuration.lookup("plugins.prefer").value:
        for entry in found:
            if same_distribution(entry.dist.name, name) and claims(entry):
                return entry
    found = [e for e in found if claims(e)]
    if len(found) > 1:
        names = [e.dist.name for e in found]
        raise RuntimeError(
            f"the names {prefix}.* are owned by {' and by '.join(names)}; say which to use: "
            f'AGRAD_PLUGINS={names[0]} in the environment, or plugins = ["{names[0]}"] in [tool.agrad]')
    return found[0] if found else None


def load_owner(prefix: str) -> RuleSet | None:
    """The rule set that owns a prefix, its ops and rules in use; None if there is none."""
    if prefix in owners:
        return owners[prefix]
    with loading:
        if prefix in owners:
            return owners[prefix]
        entry = owner_of(prefix)
        rules = None if entry is None else load(entry)
        if rules is None:
            return owners.setdefault(prefix)
        preferred = configuration.lookup("plugins.prefer").value
        acting = [other for name in preferred for other in overrides_of(name, prefix)]
        for other in acting:
            check_override(other, rules)
        rules.install(rules.origin)
        owners[prefix] = rules
        for other in reversed(acting):      # the one named first has the last word
            connect(other)
            other.act()
        return rules


def overrides_of(distribution: str, prefix: str | None = None) -> list[RuleSet]:
    """The overriding rule sets of a distribution, under one prefix or under all."""
    chosen = [e for e in entry_points() if same_distribution(e.dist.name, distribution) and prefix in (None, e.name)]
    return [rules for rules in map(load, chosen) if rules.override]


def check_override(rules: RuleSet, owner: RuleSet | None) -> None:
    """An override may only name what the owner declares, and as the owner declares it."""
    for name in rules.records:
        if owner is None or name not in owner.records:
            by = f"{owner.origin} does not declare" if owner is not None else "no installed plugin declares"
            raise RuntimeError(f"the plugin {rules.origin} overrides {name}, which {by}")
        if name in rules.new_ops:
            here, there = rules.new_ops[name].signature, owner.new_ops[name].signature
            if here.parameters != there.parameters:
                form = f"{name}{here.text}, which {owner.origin} declares as {name}{there.text}"
                raise RuntimeError(f"the plugin {rules.origin} overrides {form}")


def connect(rules: RuleSet) -> None:
    """Make an overriding rule set known to the engine, once."""
    with loading:
        if not rules.bound:
            rules.install(rules.origin)


def load_rule(op: Op) -> None:
    """Resolve an op: the rule set that owns it is loaded, and with it the overrides that configuration names."""
    load_owner(op.signature.chapter)


def find_override(op: Op, acting: tuple[RuleSet, ...]) -> Rule | None:
    """The rule to record under `override`: that of the first rule set that has one, else the usual one."""
    for rules in acting:
        if op.name in rules.bound:
            return rules.bound[op.name]
    return op.rule


def find_plugin(prefix: str) -> bool:
    """Whether a plugin owns a prefix; it is loaded. Chapters of the standard are not prefixes of names."""
    return prefix.isidentifier() and prefix not in standard.CHAPTERS and load_owner(prefix) is not None


def find_kernel(op: Op, backend: Any) -> Callable[..., Any]:
    """The raw function for an op: the plugin's for this backend, the backend's own, the plugin's generic one."""
    kernels = getattr(op.record, "kernels", {})
    for candidate in (kernels.get(backend.name), backend.kernel(op), kernels.get("*")):
        if candidate is None:
            continue
        function = import_function(candidate) if isinstance(candidate, str) else candidate
        if candidate is kernels.get("*") and "xp" in python_signature(function).parameters:
            function = with_namespace(function, backend)
        return with_names(function, standard.RESULTS[op.name]) if op.name in standard.RESULTS else function
    raise NotImplementedError(
        f"{op.name} has no kernel for the backend {backend.name}: {backend.name} lacks the function, and no plugin "
        "fills it in. Move the tensor to another backend with to(backend=...), or give a kernel with "
        f"rules.op(...).kernel({backend.name!r}, ...)."
    )


def with_namespace(function: Callable[..., Any], backend: Any) -> Callable[..., Any]:
    """A generic kernel with this backend's namespace filled in."""
    def kernel(*args: Any, **kwargs: Any) -> Any:
        return function(*args, xp=backend.xp, **kwargs)

    kernel.__name__ = getattr(function, "__name__", "kernel")
    return kernel


def with_names(function: Callable[..., Any], result: Any) -> Callable[..., Any]:
    """A kernel whose several results have the standard's names."""
    def kernel(*args: Any, **kwargs: Any) -> Any:
        return result._make(function(*args, **kwargs))

    kernel.__name__ = getattr(function, "__name__", "kernel")
    return kernel


def import_function(place: str) -> Callable[..., Any]:
    """The function at "module:attribute"."""
    module, _, attribute = place.partition(":")
    found: Any = import_module(module)
    for part in attribute.split("."):
        found = getattr(found, part)
    return found    # type: ignore[no-any-return]


def plugins() -> list[PluginInfo]:
    """All installed plugins, loaded; broken ones with their error.

    Examples
    --------
    >>> import agrad.rules
    >>> [p.name for p in agrad.rules.plugins() if p.name == "sorting"]
    ['sorting']
    """
    found = []
    for entry in entry_points():
        try:
            n, error = len(load(entry).records), None
        except RuntimeError as problem:
            n, error = None, str(problem)
        found.append(PluginInfo(entry.name, entry.dist.name, entry.dist.version, n, error))
    return found


def ops() -> dict[str, Op]:
    """Every op of every installed plugin that can be used, by name."""
    for prefix in {e.name for e in entry_points()}:
        with suppress(RuntimeError):
            load_owner(prefix)
    return dict(sorted(engine.all_ops().items()))


def find(name: str) -> Op:
    """The op of that name, its plugin loaded.

    Raises
    ------
    LookupError
        If nobody declares it.

    Examples
    --------
    >>> import agrad.rules
    >>> agrad.rules.find("sin").record.family
    'elementwise'
    """
    op = engine.find_op(name)
    op.rule     # noqa: B018  resolves it
    return op


@contextmanager
def override(*distributions: str) -> Iterator[None]:
    """Let the overriding rule sets of these distributions act on what is recorded inside.

    Of several that override one op the innermost acts, and of those named together the first.

    Raises
    ------
    LookupError
        If none of a distribution's plugins overrides anything.
    """
    acting = []
    for name in distributions:
        sets = overrides_of(name)
        if not sets:
            raise LookupError(f"no installed plugin of {name} is a RuleSet with override=True")
        for rules in sets:
            check_override(rules, load_owner(rules.name))
            connect(rules)
        acting += sets
    before = engine.get_mode()
    engine.set_mode(before.replace(overrides=(*acting, *(before.overrides or ()))))
    try:
        yield
    finally:
        engine.set_mode(before)


engine.install_loaders(load_rule, find_kernel, find_plugin)
engine.install_overrides(find_override)
