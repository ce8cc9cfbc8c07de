"""What every test shares: sealed global state, the backend fixture, Hypothesis profiles, the --long switch."""

import os
from collections.abc import Iterator

import pytest
from array_libraries import BACKENDS, is_installed
from hypothesis import settings

import agrad

# The user's own configuration must not decide what the tests see. AGRAD_SOURCE belongs to the tests themselves.
for variable in [name for name in os.environ if name.startswith("AGRAD_") and name != "AGRAD_SOURCE"]:
    del os.environ[variable]

os.environ.setdefault("JAX_ENABLE_X64", "1")  # before anything imports it: the switch in JAX itself is one per thread

settings.register_profile("ci", max_examples=60, stateful_step_count=25, deadline=None, database=None, derandomize=True)
settings.register_profile("long", max_examples=2000, stateful_step_count=60, deadline=None)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="also run the tests marked long, with more random examples")


def pytest_configure(config: pytest.Config) -> None:
    settings.load_profile("long" if config.getoption("--long") else "ci")


def pytest_report_header() -> str:
    found = [name for name in BACKENDS if is_installed(name)]
    return f"agrad {agrad.__version__} from {agrad.__path__[0]}, backends: {', '.join(found)}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if "cupy" in item.keywords and not is_installed("cupy"):
            item.add_marker(pytest.mark.skip(reason="needs CuPy (pip install 'agrad[cupy]') and a CUDA device"))
    if config.getoption("--long") or "long" in config.getoption("markexpr"):
        return
    left_out = [item for item in items if "long" in item.keywords]
    if left_out:
        items[:] = [item for item in items if "long" not in item.keywords]
        config.hook.pytest_deselected(items=left_out)
        config.stash[LEFT_OUT] = len(left_out)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if count := config.stash.get(LEFT_OUT, 0):
        terminalreporter.write_line(f"{count} long tests were left out; run them with --long")


LEFT_OUT = pytest.StashKey[int]()


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run the test once per array library, as the default backend; the value is its name."""
    if not is_installed(request.param):
        pytest.skip(f"{request.param} is not installed")
    with agrad.use_backend(request.param):
        yield request.param


@pytest.fixture
def doubles() -> Iterator[None]:
    """Python floats become float64 on every backend."""
    agrad.set_default_dtype(agrad.float64)
    yield
    agrad.set_default_dtype(None)


GLOBAL_STATE = {  # what a test could leave behind -> (how to read it, how to put it back)
    "grad mode": (agrad.is_grad_enabled, agrad.set_grad_enabled),
    "default backend": (agrad.get_default_backend, agrad.set_default_backend),
    "default dtype": (agrad.get_default_dtype, agrad.set_default_dtype),
}


@pytest.fixture(autouse=True)
def sealed_global_state() -> Iterator[None]:
    """Fail the test that leaves global state changed, and put the state back for those that follow."""
    before = {name: read() for name, (read, _) in GLOBAL_STATE.items()}
    yield
    changed = {}
    for name, (read, put_back) in GLOBAL_STATE.items():
        if read() != before[name]:
            changed[name] = (before[name], read())
            put_back(before[name])
    agrad.set_default_dtype(None)  # put back by its value it would be a wish of the user's, which devices must follow
    assert not changed, f"this test left global state changed (before, after): {changed}"


@pytest.fixture
def wide() -> Iterator[None]:
    """JAX with 64-bit numbers, as everywhere else in the tests."""
    jax = pytest.importorskip("jax")
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)   # in all threads: callbacks have their own
    yield
    jax.config.update("jax_enable_x64", before)


@pytest.fixture
def on_jax() -> Iterator[None]:
    """JAX as the default backend."""
    with agrad.use_backend("jax"):
        yield
