"""The example programs compute what they say, on every backend; what they cannot use they refuse in words."""

import importlib
import json
import math
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from source_tree import SOURCE

import agrad

pytest.importorskip("sklearn")
pytest.importorskip("scipy")
threadpoolctl = pytest.importorskip("threadpoolctl", reason="comes with scikit-learn")

EXAMPLES = SOURCE / "examples"
pytestmark = pytest.mark.skipif(not EXAMPLES.is_dir(), reason=f"no examples/ in {SOURCE}")

# How each example is run shortly.
SHORT = {
    "digits_convnet": ["--epochs", "1"],
    "character_lstm": ["--steps", "2"],
    "digits_vae": ["--epochs", "1"],
    "pendulum": ["--steps", "30"],
    "gaussian_process": ["--steps", "1"],
    "profile_and_picture": ["--steps", "1"],
    "tutorials": ["--steps", "2"],
}
each_example = pytest.mark.parametrize("name", SHORT)


@pytest.fixture
def example(monkeypatch, tmp_path):
    """Import an example as if it was run in its folder; files are written elsewhere, BLAS has one thread."""
    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.chdir(tmp_path)
    ours = {*SHORT, "training"}     # benchmarks/ has a file of that name, too
    for name in ours:
        monkeypatch.delitem(sys.modules, name, raising=False)
    with threadpoolctl.threadpool_limits(1):
        yield importlib.import_module
    for name in ours:
        sys.modules.pop(name, None)


@pytest.fixture
def run(example):
    return lambda name, *arguments: example(name).main(arguments)


# ---------------------------------------------------------------------------------------------------- what they compute


@pytest.mark.slow
@pytest.mark.parametrize("seed", ["0", "1", "2"])
def test_the_convolutional_network_reads_digits(run, seed):
    report = run("digits_convnet", "--seed", seed)
    assert report.accuracy >= 0.98
    assert report.losses[-1] < 0.02 < 0.5 < report.losses[0]


def test_the_convolutional_network_is_saved_whole(example):
    digits = example("digits_convnet")
    agrad.manual_seed(0)
    report = digits.run(2, ".")
    stored = agrad.load(report.path)
    assert {name: t.shape for name, t in stored.items()} == {
        name: t.shape for name, t in digits.Network().state_dict().items()
    }
    assert stored["norm1.num_batches_tracked"].item() == 2 * (1437 // digits.BATCH)


def test_the_lstm_learns_its_text(run):
    report = run("character_lstm", "--steps", "60")
    assert report.bits[0] > 5
    assert report.bits[-1] < 2
    assert report.sample.startswith("Beautiful")
    assert len(report.sample) == len("Beautiful") + 200


def test_the_text_is_that_of_import_this(example):
    printed = subprocess.run([sys.executable, "-c", "import this"], capture_output=True, text=True).stdout
    assert example("character_lstm").zen() == printed.rstrip("\n")


def test_the_autoencoder_improves_its_bound(run):
    report = run("digits_vae", "--epochs", "5")
    assert report.bounds[0] < -40
    assert report.bounds[-1] > -28
    assert report.drawn.shape == (6, 64)
    assert 0 <= agrad.min(report.drawn).item() <= agrad.max(report.drawn).item() <= 1


def test_the_bound_is_below_the_likelihood(example):
    """Of a decoder that does not look at its point the likelihood is known: the bound with divergence zero meets it."""
    vae = example("digits_vae")
    model = vae.Autoencoder()
    with agrad.no_grad():
        for layer in (model.encoder[2], model.decoder[2]):
            layer.weight.zero_()
            layer.bias.zero_()
    images = agrad.rand(3, vae.PIXELS)
    assert np.allclose(model(images).tolist(), -vae.PIXELS * math.log(2))
    with agrad.no_grad():
        model.encoder[2].bias.fill_(1.0)
    each = 0.5 * (1 + math.e - 1 - 1)
    assert np.allclose(model(images).tolist(), -vae.PIXELS * math.log(2) - vae.LATENT * each)


@pytest.mark.parametrize("seed", ["0", "1", "2"])
def test_the_pendulum_is_recovered(run, example, seed):
    report = run("pendulum", "--seed", seed)
    for name, value in example("pendulum").TRUTH.items():
        assert 0 < report.errors[name] < 0.006
        assert abs(report.found[name] - value) < 4 * report.errors[name]
    assert report.misfits[-1] == pytest.approx(0.05, rel=0.2)
    assert report.iterations < 15


def test_the_solver_is_of_fourth_order(example):
    """Half the step, a sixteenth of the error, against SciPy's solution."""
    from scipy.integrate import solve_ivp

    pendulum = example("pendulum")
    p = pendulum.TRUTH

    def motion(t, state):
        return state[1], -pendulum.GRAVITY / p["length"] * np.sin(state[0]) - p["friction"] * state[1]

    times = np.linspace(0, pendulum.SECONDS, 51)[1:]
    exact = solve_ivp(motion, (0, times[-1]), (pendulum.ANGLE, 0.0), "DOP853", times, rtol=1e-12, atol=1e-12).y[0]
    found = [np.max(np.abs(pendulum.swing(p, steps).numpy()[steps // 50 - 1 :: steps // 50] - exact))
             for steps in (100, 200)]
    assert found[0] / found[1] == pytest.approx(16, rel=0.15)


def test_the_evidence_grows_and_the_prediction_beats_a_line(run):
    report = run("gaussian_process")
    assert all(later > earlier - 1e-9 for earlier, later in zip(report.evidences, report.evidences[1:], strict=False))
    assert report.evidences[-1] > report.evidences[0] + 0.01
    assert report.error < report.linear_error
    assert {"bmi", "s5"} < set(report.order[:4])


def test_the_gaussian_process_is_that_of_scikit_learn(example):
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

    gp = example("gaussian_process")
    agrad.manual_seed(0)
    x, y, test_x, _, _ = gp.data()
    p = {"lengths": agrad.linspace(0.5, 2.0, 10), "strength": agrad.tensor(0.1), "noise": agrad.tensor(-0.4)}
    kernel = ConstantKernel(math.exp(0.2)) * RBF(np.exp(np.linspace(0.5, 2.0, 10))) + WhiteKernel(math.exp(-0.8) + 1e-6)
    theirs = GaussianProcessRegressor(kernel, optimizer=None, alpha=0.0).fit(x.numpy(), y.numpy()[:, 0])
    assert gp.evidence(p, x, y).item() == pytest.approx(theirs.log_marginal_likelihood_value_)
    assert np.allclose(gp.predicted(p, x, y, test_x).numpy()[:, 0], theirs.predict(test_x.numpy()))


TUTORIALS = """\
z = x * x * y: 12.0 gradients 12.0 4.0 second 6.0
RuntimeError: grad can be implicitly created only for scalar outputs
y = x * x, weighted: tensor([ 2., 40.])
2 x + detached x: gradient 2.0 recorded in no_grad: False
add  () float64  8 B
multiply  () float64  8 B, freed
x  () float64  8 B
"""


def test_the_tutorials_print_what_they_say(run, capsys):
    losses, moved = run("tutorials", "--steps", "60")
    assert losses[-1] < 0.3 < losses[0]
    assert moved == [False, False, True, True]
    _, _, printed = capsys.readouterr().out.partition("\n")
    assert printed.startswith(TUTORIALS)
    assert "frozen: 34 of 82 parameters are trained" in printed


def test_the_profile_and_the_picture(run):
    pytest.importorskip("rich")
    report = run("profile_and_picture", "--steps", "3")
    assert report.losses == sorted(report.losses, reverse=True)
    calls = {(row.name, row.kind): row.calls for row in report.profile.key_averages()}
    assert calls["nn.convolution", "forward"] == calls["nn.convolution", "backward"] == 3
    assert calls["the optimizer's step", "range"] == 3
    assert "Conv2d" in report.picture.text()
    assert json.loads(report.trace.read_text())
    assert report.svg.read_text().startswith("<svg")


# ----------------------------------------------------------------------------------------------------- on every backend


def losses(report):
    return next(value for value in report if isinstance(value, list))


@each_example
def test_an_example_runs_on_a_backend(name, backend, example, capsys):
    report = example(name).main(["--backend", backend, *SHORT[name]])
    assert capsys.readouterr().out.startswith(f"backend {backend} on ")
    assert all(map(math.isfinite, losses(report)))
    if backend == "array_api_strict":       # float64 as NumPy's: the same draws, and the same arithmetic
        expected = losses(example(name).main(["--backend", "numpy", *SHORT[name]]))
        assert losses(report) == pytest.approx(expected, rel=1e-4)


@pytest.mark.slow
@pytest.mark.usefixtures("wide")
@pytest.mark.parametrize("name", ["digits_vae", "pendulum"])
def test_an_example_runs_on_jax(name, run):
    pytest.importorskip("jax")
    report = run(name, "--backend", "jax", *SHORT[name])
    assert losses(report) == pytest.approx(losses(run(name, "--backend", "numpy", *SHORT[name])), rel=1e-4)


# -------------------------------------------------------------------------------------------- as programs, from a shell


@each_example
def test_an_example_is_a_program(name, tmp_path):
    (command,) = re.findall(r"^    python (examples/\S+)", (EXAMPLES / f"{name}.py").read_text(), re.MULTILINE)
    result = subprocess.run(
        [sys.executable, SOURCE / command, "--backend", "numpy", *SHORT[name]],
        cwd=tmp_path, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=120,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("backend numpy on cpu, seed 0\n")
    assert result.stderr == ""


@each_example
def test_what_an_example_cannot_use_is_refused_in_words(name, example, capsys):
    main = example(name).main
    for option, wrong in (("--backend", "no_such_library"), (SHORT[name][0], "0"), ("--seed", "-1"), ("--seed", "x")):
        with pytest.raises(SystemExit) as caught:
            main([option, wrong])
        assert caught.value.code == 2
        complaint = capsys.readouterr().err
        assert option in complaint
        assert wrong in complaint


def test_a_seed_decides_a_run(run):
    first, again, other = (run("character_lstm", "--steps", "2", "--seed", seed) for seed in "112")
    assert first == again
    assert first != other


# ------------------------------------------------------------------------------------------------------ what they share


def test_a_loss_that_is_no_number_stops_training_and_names_the_step(example, monkeypatch):
    vae = example("digits_vae")
    monkeypatch.setattr(vae, "RATE", 1e30)
    with pytest.raises(FloatingPointError, match=r"the loss is (nan|inf|-inf) in step 2$"), np.errstate(all="ignore"):
        vae.main(["--epochs", "1"])


def test_batches_hold_every_place_once(example):
    batches = example("training").batches
    agrad.manual_seed(0)
    found = [batch.tolist() for batch in batches(10, 3)]
    assert [len(batch) for batch in found] == [3, 3, 3]
    places = {place for batch in found for place in batch}
    assert len(places) == 9
    assert places < set(range(10))
    assert [batch.tolist() for batch in batches(10, 3)] != found


def test_the_list_of_examples_is_complete():
    listed = set(re.findall(r"`python examples/(\w+)\.py", (EXAMPLES / "README.md").read_text()))
    assert listed == {path.stem for path in EXAMPLES.glob("*.py")} - {"training"}


def test_examples_are_small():
    lengths = {path.name: len(path.read_text().splitlines()) for path in EXAMPLES.glob("*.py")}
    assert max(lengths.values()) < 140, lengths
