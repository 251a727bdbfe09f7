"""What the environment may set: JAX's platforms and checks, and matplotlib's backend."""

import os
import subprocess
import sys

import jax
import numpy as np
import pytest

from bad_inputs import snapshot, thalweg, without_progress
from thalweg import cli, results

FEW = ["--steps", "4", "--sharpness-every", "2", "--gfs-every", "2"]

pytestmark = pytest.mark.usefixtures("little_is_drawn")


@pytest.mark.parametrize("error", [AssertionError(), RuntimeError("Unable to begin\nat all")])
def test_a_platform_without_a_device_is_bad_input(error, tmp_path, monkeypatch):
    assert thalweg("run", "scalar", "--out", tmp_path / "old", *FEW)[0] == 0
    before = snapshot(tmp_path)

    def devices():
        raise error

    monkeypatch.setattr(jax, "devices", devices)
    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    said = f" ({error})".partition("\n")[0] + ")" if str(error) else ""
    for command in (
        ["run", "scalar", "--out", tmp_path / "new"],
        ["run", "scalar", "--out", tmp_path / "old", "--overwrite"],
        ["reproduce", "--out", tmp_path / "all", "--quick"],
        ["resume", tmp_path / "old"],
    ):
        assert thalweg(*command) == (
            cli.BAD_INPUT,
            "",
            f"thalweg: error: JAX finds no device with JAX_PLATFORMS=cuda{said}: unset what is "
            "wrong of it, or set JAX_PLATFORMS to cpu\n",
        )
        assert snapshot(tmp_path) == before
    assert thalweg("plot", tmp_path / "old")[0] == 0


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"JAX_PLATFORMS": "nonsense"}, "JAX finds no device with JAX_PLATFORMS=nonsense"),
        ({"JAX_ENABLE_X64": "perhaps"}, "JAX cannot be started: invalid truth value 'perhaps'"),
    ],
)
def test_settings_of_jax_that_make_no_sense(setting, message, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "thalweg.cli", "run", "scalar", "--out", str(tmp_path / "run")],
        env=os.environ | setting,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (cli.BAD_INPUT, ""), done
    assert message in done.stderr
    assert without_progress(done.stderr).count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def run_network(folder, *options, **setting):
    small = "--architecture", "mlp", "--samples", "10", "--image-size", "2", "--step-size", "0.1"
    command = "run", "network", "--out", str(folder), *small, *options, *FEW
    return subprocess.run(
        [sys.executable, "-m", "thalweg.cli", *command],
        env=os.environ | {"JAX_PLATFORMS": "cpu"} | setting,
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
def test_several_devices_give_the_numbers_of_one(tmp_path):
    for devices in "1", "2":
        done = run_network(tmp_path / devices, "--devices", devices)
        assert done.returncode == 0, done.stderr
    one, two = (results.load(tmp_path / devices).dataset for devices in "12")
    for name in "loss", "sharpness", "gfs_sharpness":
        np.testing.assert_allclose(two[name], one[name], rtol=1e-9)
    resumed = subprocess.run(
        [sys.executable, "-m", "thalweg.cli", "resume", str(tmp_path / "2")],
        capture_output=True,
        text=True,
    )
    assert resumed.returncode == 0, resumed.stderr


@pytest.mark.slow
def test_devices_that_are_not_there_are_bad_input(tmp_path):
    done = run_network(tmp_path / "run", "--devices", "2", JAX_NUM_CPU_DEVICES="1")
    assert (done.returncode, done.stdout) == (cli.BAD_INPUT, "")
    *_, error = done.stderr.splitlines()  # after lines on what takes its time
    assert error.startswith("thalweg: error: 2 devices are asked for, but JAX has 1 (cpu)")
    assert done.stderr.count("error") == 1
    assert list(tmp_path.iterdir()) == []


CHECKED = """
import sys
import jax, jax.numpy as jnp, numpy as np
import thalweg as tw
from thalweg import cli, scalar
code = cli.main(["run", "scalar", "--certify", "--out", sys.argv[1] + "/scalar", *sys.argv[2:]])
assert code == 0
w = jnp.array([3.0, 1.5, 0.4, 0.2])
network = tw.ScalarNetwork(4)
loss = lambda w: network(w) + 0.0
measurements = [tw.Sharpness(every=2), tw.GFSSharpness(every=2, rtol=1e-2)]
run = tw.descend(loss, w, step_size=[0.25, 0.1], steps=4, measurements=measurements)
assert run.steps == [4, 4], run
assert tw.certify([2.0, 1.5, 1.0, 0.7, 0.3], 0.28, 1000).converges.established
assert not tw.certify(w, 0.25, 4).converges.established
near_saddle = tw.gradient_flow_solution(
    lambda w: 0.25 * (w[0] ** 2 - 1) ** 2 + w[1] ** 2, jnp.array([1e-3, 5.0])
)
assert near_saddle.status == tw.Status.CONVERGED, near_saddle
assert abs(near_saddle.sharpness - 2) <= near_saddle.sharpness_error, near_saddle
starts = np.random.default_rng(0).uniform(0.2, 2, (20, 3))
sweep = tw.scalar_sweep(starts, [0.1, 0.5, 2.0], 100, gfs_every=10)
assert (sweep.outcome == tw.ScalarOutcome.DIVERGED).any() and np.isnan(sweep.sharpness).any()
network.gfs_sharpness_gradient(w), network.flow_limits(jnp.stack([w, 0 * w]))
scalar.one_step_condition(-w[:3], 0.1), scalar.convergence_condition(w, 0.1)
x, y = np.eye(3), np.ones(3)
at = {"u": jnp.array([0.3, 0.0, 0.4]), "v": jnp.array([0.1, 0.2, 0.5])}
tw.gradient_flow_solution(tw.SquaredRegression(x, y), at, rtol=1e-2)
try:  # what the switches are for
    tw.descend(lambda w: jnp.sum(w) + jnp.log(w[0] - 2), w, step_size=4.0, steps=2)
except FloatingPointError:
    print("found")
"""


@pytest.mark.slow
def test_jax_looks_for_nan_in_the_loss_and_finds_none_of_ours(tmp_path):
    """In a notebook's environment, too, whose backend for figures is not installed here."""
    done = subprocess.run(
        [sys.executable, "-c", CHECKED, str(tmp_path), *FEW],
        env=os.environ
        | {"JAX_DEBUG_NANS": "1", "JAX_DEBUG_INFS": "1"}
        | {"MPLBACKEND": "module://no_such_backend", "JAX_ENABLE_X64": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("found\n")
    assert results.load(tmp_path / "scalar").summary["runs"][0]["status"] == "completed"
    assert (tmp_path / "scalar" / "figure.png").exists()
