"""Plugins as their users meet them: real distributions, installed by pip in an environment of their own.

Nothing of agrad is patched here, and nothing is downloaded: the environment sees what this one has, and the packages
are built with the setuptools that is there.
"""

import os
import re
import shutil
import subprocess
import sys
import venv
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest
from array_libraries import BACKENDS, is_installed
from source_tree import SOURCE

from agrad import loading, rules
from agrad.rules import RuleSet

EXAMPLE, PAGE = SOURCE / "examples" / "plugins", SOURCE / "docs" / "plugins.md"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not find_spec("pip"), reason="pip is not installed"),
    pytest.mark.skipif(not (EXAMPLE.is_dir() and PAGE.is_file()), reason=f"no examples/ and docs/ in {SOURCE}"),
]
each_backend = pytest.mark.parametrize(
    "backend",
    [pytest.param(b, marks=pytest.mark.skipif(not is_installed(b), reason="not installed")) for b in BACKENDS],
)


# ---------------------------------------------------------------------------------------------------- the distributions

PROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "{name}"
version = "1.0"
[project.entry-points."agrad.plugins"]
{prefix} = "{module}:rules"
[tool.setuptools]
py-modules = ["{module}"]
"""

CHIPPED = "import a_module_that_nobody_has\n"

CROOKED = """
from agrad.rules import RuleSet
rules = RuleSet("crooked")
rules.op("crooked.wave(x: array, length=1.0)").kernel("*", lambda x, length: x / length)
rules.linear("crooked.wave", x=lambda g, wavelength: g / wavelength)
"""

# Another owner of physics.*: its fermi is one everywhere.
RIVAL = """
from agrad.rules import RuleSet
rules = RuleSet("physics")
rules.op("physics.fermi(x: array, /)").kernel("*", lambda x: 1 + 0 * x)
rules.elementwise("physics.fermi", x=0)
"""

# Another derivative for an op of another plugin.
COLD = """
from agrad.rules import RuleSet
rules = RuleSet("physics", override=True)
rules.op("physics.fermi(x: array, /)")
rules.elementwise("physics.fermi", x=-7.0)
"""


def write_distribution(folder, name, prefix, code):
    """A distribution of one module, named like itself."""
    module = name.replace("-", "_")
    folder = folder / name
    folder.mkdir()
    (folder / "pyproject.toml").write_text(PROJECT.format(name=name, prefix=prefix, module=module))
    (folder / f"{module}.py").write_text(code)
    return folder


def files_of_the_page():
    """The code of docs/plugins.md that begins with the name of its file."""
    blocks = re.findall(r"^```\w+\n# (\S+)\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return dict(blocks)


def write_page(folder):
    """The distribution that docs/plugins.md describes."""
    folder = folder / "page"
    folder.mkdir()
    for name in ("pyproject.toml", "agrad_optics.py"):
        (folder / name).write_text(files_of_the_page()[name])
    return folder


class Environment:
    """A virtual environment that also sees the packages of this one."""

    def __init__(self, folder):
        self.folder = folder
        venv.create(folder / "env", with_pip=False)
        scripts = "Scripts" if os.name == "nt" else "bin"
        self.python = folder / "env" / scripts / "python"
        own = Path(self.run("import sysconfig; print(sysconfig.get_path('purelib'))").strip())
        seen = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
        (own / "seen.pth").write_text("".join(f"import site; site.addsitedir({path!r})\n" for path in seen))

    def call(self, *arguments, **variables):
        environ = {**os.environ, **variables}
        command = [self.python, "-P", *arguments]
        return subprocess.run(command, cwd=self.folder, env=environ, capture_output=True, text=True, timeout=300)

    def run(self, program, *arguments, **variables):
        """What a program prints; a warning is an error."""
        result = self.call("-W", "error", "-c", program, *arguments, **variables)
        assert result.returncode == 0, result.stderr
        return result.stdout

    def install(self, *sources, options=()):
        """Install distributions from their sources."""
        quiet = ("--quiet", "--disable-pip-version-check", "--no-index", "--no-build-isolation", "--no-deps")
        result = self.call("-m", "pip", "install", *quiet, *options, *map(str, sources))
        assert result.returncode == 0, result.stderr


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """The example, the page's plugin, two broken ones and two that override; beside it, for two tests, a rival."""
    folder = tmp_path_factory.mktemp("plugins")
    made = Environment(folder)
    shutil.copytree(EXAMPLE, folder / "example")  # building leaves traces
    made.install(
        folder / "example",
        write_page(folder),
        write_distribution(folder, "agrad-chipped", "chipped", CHIPPED),
        write_distribution(folder, "agrad-crooked", "crooked", CROOKED),
        write_distribution(folder, "agrad-gentle", "elementwise", files_of_the_page()["agrad_gentle.py"]),
        write_distribution(folder, "agrad-cold", "physics", COLD),
    )
    made.rival = folder / "rival"
    made.install(write_distribution(folder, "agrad-rival", "physics", RIVAL), options=("--target", str(made.rival)))
    return made


# ---------------------------------------------------------------------------------------------------------- an op works

TWICE = """
import sys
import agrad
import numpy as np

agrad.set_default_backend(sys.argv[1])
rng = np.random.default_rng(0)
inputs = [
    np.array([[0, 0, 0], [1.1, 0, 0.1], [0.3, 1.2, 0], [1.3, 1.3, 0.4]]),   # positions
    rng.uniform(0.5, 1.5, (4, 4)),                                          # epsilon
    rng.uniform(0.9, 1.1, (4, 4)),                                          # sigma
]
weights = [agrad.asarray(rng.uniform(size=x.shape)) for x in inputs]

def tensors(arrays):
    return [agrad.tensor(agrad.asarray(x).array, requires_grad=True) for x in arrays]

def energy(*arrays):
    return lennard_jones(*tensors(arrays))

def slope(*arrays):
    leaves = tensors(arrays)
    gradients = agrad.autograd.grad(lennard_jones(*leaves), leaves)
    return sum(agrad.sum(g * w) for g, w in zip(gradients, weights))

def differences(function, step=1e-5):
    found = []
    for k, x in enumerate(inputs):
        found.append(np.zeros_like(x))
        for i in np.ndindex(x.shape):
            ahead, behind = ([y.copy() for y in inputs] for _ in "+-")
            ahead[k][i] += step
            behind[k][i] -= step
            found[k][i] = (function(*ahead).item() - function(*behind).item()) / (2 * step)
    return found

leaves = tensors(inputs)
for lennard_jones in (agrad.physics.lennard_jones, leaves[0].__array_namespace__().physics.lennard_jones):
    result = lennard_jones(*leaves)
    gradients = agrad.autograd.grad(result, leaves, create_graph=True)
    seconds = agrad.autograd.grad(sum(agrad.sum(g * w) for g, w in zip(gradients, weights)), leaves)
    for found, expected in ((gradients, differences(energy)), (seconds, differences(slope))):
        for one, other in zip(found, expected):
            assert type(one.array) is type(leaves[0].array)
            np.testing.assert_allclose(one.numpy(force=True), other, rtol=1e-6, atol=1e-6)
print(type(result.array).__module__, result.grad_fn.name())
"""


@each_backend
def test_an_installed_op_is_differentiable_twice(environment, backend):
    module, node = environment.run(TWICE, backend).split()
    assert module.partition(".")[0] == backend
    assert node == "LennardJonesBackward0"


def test_the_kernels_agree(environment):
    environment.run(
        "import numpy as np, agrad_physics\n"
        "from agrad_physics import numpy_kernels\n"
        "rng = np.random.default_rng(0)\n"
        "cells = np.moveaxis(np.indices((3, 3, 3)), 0, -1).reshape(27, 3)\n"
        "frames = cells + 0.1 * rng.normal(size=(5, 27, 3))\n"
        "for epsilon, sigma in ((1.0, 1.0), (rng.random((5, 1, 1)), rng.random((27, 27)))):\n"
        "    fast = numpy_kernels.lennard_jones(frames, epsilon, sigma)\n"
        "    np.testing.assert_allclose(fast, agrad_physics.lennard_jones(frames, epsilon, sigma, np), rtol=1e-12)\n"
    )


def test_the_op_passes_the_generic_checker(environment):
    names = [name for name in BACKENDS if is_installed(name)]
    environment.run(
        "from agrad.testing import check_plugin\n"
        f"for plugin in ('physics', 'optics'): check_plugin(plugin, backends={names})"
    )


def test_an_op_has_its_signature_and_its_documentation(environment):
    output = environment.run(
        "import agrad, inspect\n"
        "print(inspect.signature(agrad.physics.lennard_jones))\n"
        "print(agrad.physics.lennard_jones.__doc__.splitlines()[0])\n"
        "print(*dir(agrad.physics))\n"
    )
    assert output.splitlines() == [
        "(positions, epsilon, sigma)",
        "Lennard-Jones energy of n particles: 4 epsilon ((sigma/r)^12 - (sigma/r)^6), summed over all pairs.",
        "fermi lennard_jones",
    ]


def test_a_plugin_is_imported_when_it_is_first_used(environment):
    environment.run(
        "import sys, agrad\n"
        "x = agrad.sin(agrad.tensor([[0.0, 0.0], [1.0, 0.0]], requires_grad=True))\n"
        "assert 'agrad_physics' not in sys.modules\n"
        "lennard_jones = agrad.physics.lennard_jones\n"
        "assert 'agrad_physics.numpy_kernels' not in sys.modules\n"
        "lennard_jones(x, 1.0, 1.0).backward()\n"
        "assert 'agrad_physics.numpy_kernels' in sys.modules\n"
        "assert 'agrad_optics' not in sys.modules\n"
    )


def test_threads_may_use_a_plugin_for_the_first_time_together(environment):
    environment.run(
        "import agrad, threading\n"
        "found, start = [], threading.Barrier(8)\n"
        "def use():\n"
        "    start.wait()\n"
        "    found.append(agrad.physics.fermi)\n"
        "threads = [threading.Thread(target=use) for _ in range(8)]\n"
        "for thread in threads: thread.start()\n"
        "for thread in threads: thread.join()\n"
        "assert len(found) == 8 and len(set(map(id, found))) == 1, found\n"
    )


def test_the_page_on_plugins_does_what_it_says(environment):
    result = environment.call("-m", "doctest", str(PAGE))
    assert result.returncode == 0, result.stdout + result.stderr
    assert ">>> " in PAGE.read_text()


# ------------------------------------------------------------------------------------------------------- broken plugins

ORIGIN = {"chipped": "chipped (agrad-chipped 1.0)", "crooked": "crooked (agrad-crooked 1.0)"}
CAUSE = {
    "chipped": "ModuleNotFoundError: No module named 'a_module_that_nobody_has'",
    "crooked": "crooked.wave.vjp[x]: a formula asks for 'wavelength'; "
    "it may ask for g, out, xp, needs, out0, out1, ..., x, length",
}


def test_broken_plugins_are_reported_by_name_and_harm_nothing(environment):
    result = environment.call("-W", "error", "-m", "agrad", "info")
    assert result.returncode == 0, result.stderr
    lines = {line.split()[0]: line for line in result.stdout.splitlines() if line.startswith("  ")}
    for name, origin in ORIGIN.items():
        assert f"broken: the plugin {origin} cannot be loaded: " in lines[name]
        assert CAUSE[name] in lines[name]
    assert re.search(r"agrad-optics +1.0 +1 ops$", lines["optics"])


def test_broken_plugins_are_listed_with_their_error(environment):
    output = environment.run(
        "import agrad\n"
        "print(*[p.name for p in agrad.rules.plugins() if p.error and p.ops is None])\n"
        "assert {'physics.fermi', 'optics.lorentzian', 'sin'} <= set(agrad.rules.ops())\n"
        "x = agrad.tensor(0.0, requires_grad=True)\n"
        "agrad.physics.fermi(x).backward()\n"
        "print(x.grad.item())\n"
    )
    assert output.splitlines() == ["chipped crooked", "-0.25"]


@pytest.mark.parametrize("name", ORIGIN)
@pytest.mark.parametrize(
    "way", ["agrad.{}", "agrad.asarray(1.0).__array_namespace__().{}.wave", "agrad.rules.find('{}.wave')"]
)
def test_using_a_broken_plugin_raises_with_the_cause(environment, name, way):
    output = environment.run(
        "import agrad\n"
        f"try: {way.format(name)}\n"
        "except RuntimeError as error: print(error); print(type(error.__cause__).__name__)\n"
    )
    message, cause = output.splitlines()
    assert message.startswith(f"the plugin {ORIGIN[name]} cannot be loaded: ")
    assert CAUSE[name] in message
    assert cause in ("ModuleNotFoundError", "RuleError")


# ----------------------------------------------------------------------------------------------- two owners of one name

FERMI = "import agrad; print(agrad.physics.fermi(agrad.asarray(0.0)).item())"
LISTED_FIRST = "import agrad; agrad.rules.plugins(); agrad.rules.ops()\n"


@pytest.mark.parametrize("before", ["", LISTED_FIRST])
def test_a_name_with_two_owners_is_refused_and_both_are_named(environment, before):
    result = environment.call("-c", before + FERMI, PYTHONPATH=str(environment.rival))
    assert result.returncode == 1
    complaint = result.stderr.splitlines()[-1]
    assert "agrad-physics and by agrad-rival" in complaint
    assert "AGRAD_PLUGINS=agrad-physics" in complaint
    assert "agrad-cold" not in complaint  # an override owns nothing


@pytest.mark.parametrize("before", ["", LISTED_FIRST])
@pytest.mark.parametrize(
    ("preferred", "value"), [("agrad-physics", 0.5), ("agrad_rival", 1.0), ("agrad-rival, agrad-physics", 1.0)]
)
def test_the_preferred_of_two_owners_is_used(environment, preferred, value, before):
    output = environment.run(before + FERMI, PYTHONPATH=str(environment.rival), AGRAD_PLUGINS=preferred)
    assert float(output) == value


def test_the_preferred_owner_may_stand_in_the_project_file(environment):
    project = environment.folder / "pyproject.toml"
    project.write_text('[tool.agrad]\nplugins = ["agrad-rival"]\n')
    try:
        assert float(environment.run(FERMI, PYTHONPATH=str(environment.rival))) == 1.0
    finally:
        project.unlink()


# ------------------------------------------------------------------------------------------------------------ overrides

SLOPES = """
import agrad
def slopes():
    a, b, c = (agrad.tensor(0.0, requires_grad=True) for _ in range(3))
    agrad.sin(a).backward()         # loads the chapter first
    agrad.sqrt(b).backward()
    agrad.physics.fermi(c).backward()
    return [x.grad.item() for x in (a, b, c)]
"""


def test_an_override_changes_nothing_by_being_installed(environment):
    output = environment.run(SLOPES + "agrad.rules.plugins(); agrad.rules.ops(); print(slopes())")
    assert output == "[1.0, inf, -0.25]\n"


def test_an_override_acts_where_it_is_named(environment):
    output = environment.run(
        f"{SLOPES}with agrad.rules.override('agrad-gentle'):\n"
        "    print(slopes())\n"
        "    with agrad.rules.override('agrad-cold'):\n"
        "        print(slopes())\n"
        "    x = agrad.tensor(0.0, requires_grad=True)\n"
        "    y = agrad.sqrt(x)\n"
        "print(slopes())\n"
        "y.backward()\n"  # the rule that was in force when it was recorded
        "print(x.grad.item())\n"
    )
    assert output.splitlines() == ["[1.0, 0.0, -0.25]", "[1.0, 0.0, -7.0]", "[1.0, inf, -0.25]", "0.0"]


def test_an_override_acts_where_configuration_names_it(environment):
    assert environment.run(SLOPES + "print(slopes())", AGRAD_PLUGINS="agrad-gentle,agrad-cold") == "[1.0, 0.0, -7.0]\n"
    assert environment.run(SLOPES + "print(slopes())", AGRAD_PLUGINS="agrad_cold") == "[1.0, inf, -7.0]\n"


@pytest.mark.parametrize("name", ["agrad-physics", "agrad-nobody"])
def test_only_an_override_can_be_named_as_one(environment, name):
    program = f"import agrad\nwith agrad.rules.override({name!r}): pass"
    complaint = environment.call("-c", program).stderr.splitlines()[-1]
    assert complaint == f"LookupError: no installed plugin of {name} is a RuleSet with override=True"


# ------------------------------------------------------------------------- what is wrong with a rule set as a whole


@pytest.fixture
def installed(monkeypatch):
    """Pretend that rule sets are installed, and forget them afterwards."""
    monkeypatch.setattr(loading, "loaded", {})
    monkeypatch.setattr(loading, "owners", {prefix: owner for prefix, owner in loading.owners.items() if owner})

    def install(*sets, name=None):
        entries = []
        for i, rule_set in enumerate(sets):
            dist = SimpleNamespace(name=f"agrad-test{i}", version="1.0")
            entry = name or getattr(rule_set, "name", "demo")
            entries.append(SimpleNamespace(name=entry, value="m:rules", dist=dist, load=lambda found=rule_set: found))
        monkeypatch.setattr(loading, "entry_points", lambda: tuple(entries))

    return install


def complaint_about(prefix):
    with pytest.raises(RuntimeError) as caught:
        loading.load_owner(prefix)
    return str(caught.value)


def test_a_rule_set_must_be_named_like_its_entry_point(installed):
    installed(RuleSet("demos"), name="demo")
    assert "the rule set is named 'demos', its entry point 'demo'" in complaint_about("demo")


def test_an_entry_point_must_lead_to_a_rule_set(installed):
    installed({"sin": "cos"})
    complaint = complaint_about("demo")
    assert complaint.endswith(
        "demo (agrad-test0 1.0) cannot be loaded: RuleError: m:rules must be a RuleSet, it is dict"
    )


def test_an_op_needs_a_family(installed):
    demo = RuleSet("demo")
    demo.op("demo.twice(x: array, /)").kernel("*", lambda x: 2 * x)
    installed(demo)
    assert "demo.twice is declared by rules.op, but no family says" in complaint_about("demo")


def test_a_rule_for_another_chapter_is_refused(installed):
    demo = RuleSet("demo")
    demo.elementwise("sin", x=0)
    installed(demo)
    assert "sin belongs to 'elementwise'" in complaint_about("demo")


def demo_set(line="demo.twice(x: array, /)", **options):
    made = RuleSet("demo", **options)
    op = made.op(line)
    made.linear("demo.twice", x=lambda g: 2 * g)
    return made, op


def test_an_override_brings_no_kernels(installed):
    made, op = demo_set(override=True)
    op.kernel("*", lambda x: 2 * x)
    installed(made)
    with pytest.raises(RuntimeError, match=r"demo\.twice has a kernel"), rules.override("agrad-test0"):
        pass


def test_an_override_needs_something_to_override(installed):
    installed(demo_set(override=True)[0])
    with pytest.raises(RuntimeError, match=r"overrides demo\.twice, which no installed plugin declares"):
        rules.override("agrad-test0").__enter__()


def test_an_override_keeps_the_signature(installed):
    owner, op = demo_set()
    op.kernel("*", lambda x: 2 * x)
    installed(owner, demo_set("demo.twice(x: array, n=2)", override=True)[0])
    with pytest.raises(
        RuntimeError, match=r"overrides demo\.twice\(x, n=2\), which .* declares as demo\.twice\(x, /\)"
    ):
        rules.override("agrad-test1").__enter__()
