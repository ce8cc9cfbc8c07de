"""Where settings come from, level by level. Nothing here knows what a backend is."""

import os
import subprocess
import sys

import pytest

from agrad import configuration
from agrad.configuration import SETTINGS, describe, lookup, reset, set_default

# name: what the file says, what the environment says and means, what the program sets, what a scope holds
LEVELS = {
    "backend": ('"torch"', "torch", "array_api_strict", "array_api_strict", "jax", "numpy"),
    "device": ('"cpu"', "cpu", "cuda:0", "cuda:0", "cuda:1", "cuda:2"),
    "dtype": ('"float32"', "float32", "float16", "float16", "bfloat16", "float64"),
    "plugins.prefer": ('["a"]', ("a",), "b,c", ("b", "c"), ("d",), ("e",)),
    "on_saved_write": ('"copy"', "copy", "raise", "raise", "copy", "raise"),
    "zero_stays_zero": ("true", True, "off", False, True, False),
}
each_setting = pytest.mark.parametrize("name", LEVELS)


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    """A project without [tool.agrad], entered, where nobody configured anything yet."""
    for definition in SETTINGS.values():
        monkeypatch.delenv(definition.variable, raising=False)
    file = tmp_path / "pyproject.toml"
    file.write_text("[project]\n")
    monkeypatch.chdir(tmp_path)
    reset()
    yield file
    reset()


def write(file, line):
    file.write_text(f"[project]\nname = 'p'\n[tool.agrad]\n{line}\n")


# ---- the levels ------------------------------------------------------------------------------------------------------


def test_every_setting_is_in_the_table_of_this_file():
    assert list(LEVELS) == list(SETTINGS)


def test_without_configuration_the_defaults_hold():
    assert [(name, value, source) for name, value, source in describe()] == [
        ("backend", "numpy", "default"),
        ("device", None, "default"),
        ("dtype", None, "default"),
        ("plugins.prefer", (), "default"),
        ("on_saved_write", "raise", "default"),
        ("zero_stays_zero", False, "default"),
    ]


@each_setting
def test_the_nearest_pyproject_is_stronger_than_the_default(name, project):
    written, meant, *_ = LEVELS[name]
    write(project, f"{SETTINGS[name].key} = {written}")
    assert lookup(name) == (name, meant, f"{project} [tool.agrad]")


@each_setting
def test_the_environment_is_stronger_than_the_file(name, project, monkeypatch):
    written, _, text, meant, *_ = LEVELS[name]
    write(project, f"{SETTINGS[name].key} = {written}")
    monkeypatch.setenv(SETTINGS[name].variable, text)
    assert lookup(name) == (name, meant, f"environment {SETTINGS[name].variable}")


@each_setting
def test_a_call_is_stronger_than_the_environment(name, monkeypatch):
    _, _, text, _, called, _ = LEVELS[name]
    monkeypatch.setenv(SETTINGS[name].variable, text)
    set_default(name, called)
    assert lookup(name) == (name, called, SETTINGS[name].call)


@each_setting
def test_a_scope_is_stronger_than_a_call(name):
    *_, called, scoped = LEVELS[name]
    set_default(name, called)
    assert lookup(name, scoped) == (name, scoped, SETTINGS[name].scope)
    assert lookup(name).value == called


@each_setting
def test_none_takes_a_call_back(name, monkeypatch):
    _, _, text, meant, called, _ = LEVELS[name]
    monkeypatch.setenv(SETTINGS[name].variable, text)
    set_default(name, called)
    set_default(name, None)
    assert lookup(name).value == meant


def test_levels_mix_setting_by_setting(project, monkeypatch):
    write(project, 'backend = "torch"\ndevice = "cpu"\non_saved_write = "copy"')
    monkeypatch.setenv("AGRAD_DEVICE", "cuda:0")
    set_default("on_saved_write", "raise")
    assert [setting[1:] for setting in describe({"dtype": "float32", "backend": None})] == [
        ("torch", f"{project} [tool.agrad]"),
        ("cuda:0", "environment AGRAD_DEVICE"),
        ("float32", "with use_backend(...)"),
        ((), "default"),
        ("raise", "set_default('on_saved_write')"),
        (False, "default"),
    ]


# ---- when and where it is read ---------------------------------------------------------------------------------------


def test_the_file_is_searched_upward(project, tmp_path, monkeypatch):
    write(project, 'backend = "torch"')
    below = tmp_path / "source" / "deep"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert lookup("backend") == ("backend", "torch", f"{project} [tool.agrad]")


def test_only_the_nearest_file_counts(project, tmp_path, monkeypatch):
    write(project, 'backend = "torch"')
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "pyproject.toml").write_text("[project]\n")
    monkeypatch.chdir(inner)
    assert lookup("backend") == ("backend", "numpy", "default")


@pytest.mark.skipif(sys.platform == "win32", reason="a folder in use cannot be removed there")
def test_a_removed_current_directory_configures_nothing(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert lookup("backend").source == "default"


def test_a_default_never_moves_under_a_running_program(project, monkeypatch):
    monkeypatch.setenv("AGRAD_BACKEND", "torch")
    before = describe()
    monkeypatch.setenv("AGRAD_BACKEND", "jax")
    monkeypatch.setenv("AGRAD_DEVICE", "cuda:0")
    write(project, 'dtype = "float32"')
    assert describe() == before
    reset()
    assert [setting.value for setting in describe()][:3] == ["jax", "cuda:0", "float32"]


def test_the_file_is_not_read_where_a_stronger_level_answers(project):
    write(project, "no toml")
    set_default("backend", "torch")
    assert lookup("backend").value == "torch"
    assert lookup("device", "cpu").value == "cpu"


def test_a_file_that_does_not_mention_agrad_need_not_be_valid(project):
    project.write_text("this is no toml")
    assert lookup("backend").source == "default"


def test_nothing_is_read_before_it_is_needed():
    code = "import sys, agrad.configuration as c; assert 'tomllib' not in sys.modules; assert not c._ambient"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=os.path.dirname(__file__))


# ---- what may be said ------------------------------------------------------------------------------------------------


def test_an_empty_variable_counts_as_unset(monkeypatch):
    monkeypatch.setenv("AGRAD_BACKEND", " ")
    assert lookup("backend").source == "default"


def test_preferred_plugins_keep_their_order_and_lose_their_blanks(monkeypatch):
    monkeypatch.setenv("AGRAD_PLUGINS", " second-one , first,third ")
    assert lookup("plugins.prefer").value == ("second-one", "first", "third")


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (
            'bakend = "torch"',
            "unknown key 'bakend'; known are backend, device, dtype, plugins, on_saved_write, zero_stays_zero",
        ),
        ("backend = 3", "backend: expected a name, not 3"),
        ('device = ""', "device: expected a name, not ''"),
        ('dtype = "int32"', "dtype: expected one of 'float16', 'bfloat16', 'float32', 'float64', not 'int32'"),
        ("plugins = [1]", "plugins: expected a list of distributions, the preferred one first, not [1]"),
        ("plugins = true", "plugins: expected a list of distributions, the preferred one first, not True"),
        ("on_saved_write = false", "on_saved_write: expected one of 'raise', 'copy', not False"),
        ("zero_stays_zero = 1", "zero_stays_zero: expected true or false, not 1"),
    ],
)
def test_a_file_is_refused_by_name_and_key(line, complaint, project):
    write(project, line)
    for _ in range(2):  # a refusal is not remembered as an answer
        with pytest.raises(ValueError, match=r"expected|unknown") as caught:
            lookup("on_saved_write")
        assert str(project) in str(caught.value)
        assert str(caught.value).endswith(complaint)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"[tool.agrad", "cannot be read"),
        (b"[tool.agrad]\nbackend = '\xff'", "cannot be read"),
        (b"[tool]\nagrad = 3", "tool.agrad must be a table, not 3"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(content, complaint, project):
    project.write_bytes(content)
    with pytest.raises(ValueError, match=complaint) as caught:
        lookup("backend")
    assert str(project) in str(caught.value)


@pytest.mark.parametrize(
    ("variable", "text", "name"),
    [
        ("AGRAD_DTYPE", "int64", "dtype"),
        ("AGRAD_PLUGINS", "a,,b", "plugins.prefer"),
        ("AGRAD_ON_SAVED_WRITE", "ignore", "on_saved_write"),
        ("AGRAD_ZERO_STAYS_ZERO", "maybe", "zero_stays_zero"),
    ],
)
def test_a_variable_is_refused_by_name(variable, text, name, monkeypatch):
    monkeypatch.setenv(variable, text)
    with pytest.raises(ValueError, match=f"environment {variable}: expected .*, not '{text}'"):
        lookup(name)


@pytest.mark.parametrize(
    ("name", "value"), [("on_saved_write", 1), ("plugins.prefer", 3), ("dtype", "int8"), ("zero_stays_zero", 0)]
)
def test_a_refused_call_changes_nothing(name, value):
    with pytest.raises(ValueError, match=r"set_default.*expected"):
        set_default(name, value)
    assert lookup(name).source == "default"


def test_backends_devices_and_dtypes_may_be_objects():
    thing = object()
    for name in ("backend", "device", "dtype"):
        set_default(name, thing)
        assert lookup(name).value is thing


@pytest.mark.parametrize("use", [lookup, lambda name: lookup(name, 1), lambda name: set_default(name, 1)])
def test_an_unknown_setting_is_refused_with_the_known_ones(use):
    with pytest.raises(LookupError, match="no setting 'bakend'; it has backend, device"):
        use("bakend")


def test_the_public_names_are_the_listed_ones():
    names = {"SETTINGS", "Setting", "describe", "lookup", "reset", "set_default", "walk_policy"}
    assert set(configuration.__all__) == names


# ---- what every walk asks --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["1", "true", "Yes", "ON"])
def test_a_switch_takes_words_in_the_environment(text, monkeypatch):
    monkeypatch.setenv("AGRAD_ZERO_STAYS_ZERO", text)
    assert lookup("zero_stays_zero").value is True


def test_the_policy_of_a_walk_follows_every_change(monkeypatch):
    assert configuration.walk_policy() == ("raise", False)
    set_default("zero_stays_zero", True)
    assert configuration.walk_policy() == ("raise", True)
    set_default("on_saved_write", "copy")
    assert configuration.walk_policy() == ("copy", True)
    set_default("zero_stays_zero", None)
    assert configuration.walk_policy() == ("copy", False)
    monkeypatch.setenv("AGRAD_ZERO_STAYS_ZERO", "on")
    reset()
    assert configuration.walk_policy() == ("raise", True)
