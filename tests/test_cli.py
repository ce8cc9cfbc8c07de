"""The command line, as a user meets it: a process, what it prints, and its exit code."""

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from types import SimpleNamespace

import pytest

from agrad import __main__ as cli
from agrad import backends, configuration, rules

pytest.importorskip("sklearn")
pytest.importorskip("tqdm")

BACKENDS = ["numpy", "torch", "array_api_strict"]
each_backend = pytest.mark.parametrize(
    "backend",
    [pytest.param(name, marks=pytest.mark.skipif(not find_spec(name), reason="not installed")) for name in BACKENDS],
)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project that configures nothing, entered."""
    for definition in configuration.SETTINGS.values():
        monkeypatch.delenv(definition.variable, raising=False)
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    monkeypatch.chdir(tmp_path)
    configuration.reset()
    yield tmp_path
    configuration.reset()


@pytest.fixture
def agrad(project):
    """Run ``python -m agrad`` in that project, with variables of the environment as keywords."""

    def run(*arguments, **variables):
        return subprocess.run(
            [sys.executable, "-m", "agrad", *arguments],
            cwd=project,
            env=os.environ | variables,
            capture_output=True,
            text=True,
        )

    return run


def found(output, label):
    """What stands after a label, at the beginning of a line."""
    return re.search(rf"^ *{re.escape(label)}  +(.+)$", output, re.MULTILINE)[1]


# ---- demo ------------------------------------------------------------------------------------------------------------


def test_the_demo_learns_to_read_digits(agrad):
    result = agrad("demo")
    assert result.returncode == 0, result.stderr
    assert found(result.stdout, "backend").startswith("numpy, ")
    assert float(found(result.stdout, "test accuracy")) >= 0.95
    assert re.fullmatch(r"\d+\.\d+ ms \(median of 600\)", found(result.stdout, "time per step"))
    assert float(found(result.stdout, "gradient check").split()[0]) < 1e-6
    assert "600/600" in result.stderr  # the progress bar


def test_the_demo_runs_on_the_configured_backend(agrad):
    pytest.importorskip("array_api_strict")
    result = agrad("demo", "--steps", "2", AGRAD_BACKEND="array_api_strict")
    assert result.returncode == 0, result.stderr
    assert found(result.stdout, "backend").startswith("array_api_strict, ")


@each_backend
def test_the_demo_runs_on_the_backend_asked_for(backend, project, capsys):
    assert cli.main(["demo", "--backend", backend, "--steps", "5"]) == 0
    output = capsys.readouterr().out
    assert found(output, "backend").startswith(f"{backend}, ")
    assert float(found(output, "gradient check").split()[0]) < 1e-6


def test_the_demo_runs_on_the_device_asked_for(project, capsys):
    pytest.importorskip("array_api_strict")
    assert cli.main(["demo", "--backend", "array_api_strict", "--device", "device1", "--steps", "2"]) == 0
    assert "device1" in found(capsys.readouterr().out, "backend")


def test_a_seed_decides_the_run(project, capsys):
    def outcome(seed):
        assert cli.main(["demo", "--steps", "3", "--seed", seed]) == 0
        return found(capsys.readouterr().out, "test accuracy")

    assert outcome("1") == outcome("1")
    assert outcome("1") != outcome("2")


@pytest.mark.parametrize("choice", [("--backend", "no_such_library"), ("--device", "no_such_device")])
def test_what_is_not_there_is_refused_in_words(choice, project, capsys):
    assert cli.main(["demo", *choice]) == 2
    complaint = capsys.readouterr().err
    assert complaint.startswith("agrad demo: ")
    assert choice[1] in complaint


@pytest.mark.parametrize("wrong", [("--steps", "0"), ("--steps", "many"), ("--seed", "-1")])
def test_a_number_that_makes_no_sense_is_refused(wrong, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["demo", *wrong])
    assert caught.value.code == 2
    assert wrong[0] in capsys.readouterr().err


@pytest.mark.parametrize("package", ["sklearn", "tqdm"])
def test_a_missing_package_is_asked_for(package, project):
    code = f"import sys; sys.modules[{package!r}] = None; from agrad.__main__ import main; sys.exit(main(['demo']))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 2
    assert result.stderr == "agrad demo: it needs scikit-learn and tqdm: pip install 'agrad[demo]'\n"


@pytest.mark.parametrize(
    ("outcome", "steps", "code"),
    [
        ((0.95, 1e-4, 1e-9), None, 0),
        ((0.94, 1e-4, 1e-9), None, 1),
        ((0.94, 1e-4, 1e-9), "5", 0),  # nobody promised anything about five steps
        ((0.99, 1e-4, 1e-5), "5", 1),  # a wrong gradient is never right
        ((0.99, 1e-4, float("nan")), None, 1),
    ],
)
def test_a_demo_that_fails_says_so(outcome, steps, code, project, monkeypatch, capsys):
    from agrad import demo

    monkeypatch.setattr(demo, "run", lambda steps, seed: demo.Report(*outcome))
    assert cli.main(["demo", *(["--steps", steps] if steps else [])]) == code
    assert ("should be" in capsys.readouterr().err) == (code == 1)


# ---- info ------------------------------------------------------------------------------------------------------------


def test_info_tells_versions_backends_plugins_and_configuration(agrad, project):
    (project / "pyproject.toml").write_text('[tool.agrad]\non_saved_write = "copy"\n')
    result = agrad("info", AGRAD_DTYPE="float32")
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("agrad ")
    assert re.search(r"^ +numpy +numpy \d", result.stdout, re.MULTILINE)
    assert re.search(r"^ +elementwise +agrad \S+ +\d+ ops$", result.stdout, re.MULTILINE)
    assert re.fullmatch("numpy +default", found(result.stdout, "backend"))
    assert re.fullmatch("float32 +environment AGRAD_DTYPE", found(result.stdout, "dtype"))
    assert re.fullmatch(r"copy +.*pyproject.toml \[tool.agrad\]", found(result.stdout, "on_saved_write"))


def test_info_says_why_something_cannot_be_used(project, monkeypatch, capsys):
    backend = SimpleNamespace(
        name="ivory",
        distribution="ivory",
        installed=False,
        version=None,
        reason="no module named ivory",
        install="pip install 'agrad[ivory]'",
    )
    plugin = SimpleNamespace(name="physics", distribution="quarks", version="1.2", ops=None, error="ImportError: spin")
    monkeypatch.setattr(backends, "available", lambda: [backend])
    monkeypatch.setattr(rules, "plugins", lambda: [plugin])
    assert cli.main(["info"]) == 0
    output = capsys.readouterr().out
    assert found(output, "ivory") == "not installed  no module named ivory; pip install 'agrad[ivory]'"
    assert found(output, "physics") == "quarks 1.2  broken: ImportError: spin"


def test_info_shows_the_rest_where_the_configuration_is_malformed(project, monkeypatch, capsys):
    monkeypatch.setenv("AGRAD_ON_SAVED_WRITE", "ignore")
    assert cli.main(["info"]) == 2
    output, complaint = capsys.readouterr()
    assert "Backends" in output
    assert complaint.startswith("agrad info: environment AGRAD_ON_SAVED_WRITE: expected one of")


# ---- the rest --------------------------------------------------------------------------------------------------------


def test_the_version_can_be_asked_for(agrad):
    assert re.fullmatch(r"agrad \d\S*\n", agrad("--version").stdout)


def test_no_command_is_an_error_that_names_them(agrad):
    result = agrad()
    assert result.returncode == 2
    assert "command" in result.stderr
