"""What was computed in Python goes to a run folder and comes back."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import thalweg as tw
from thalweg.cli import main
from thalweg.scalar import ScalarNetwork

NETWORK, START = ScalarNetwork(3), jnp.array([1.8, 0.9, 0.5])


def run_of(start=START, **options):
    measurements = [tw.Sharpness(every=3), tw.GFSSharpness(every=5, rtol=1e-3)]
    return tw.descend(NETWORK, start, steps=10, measurements=measurements, **options)


def test_what_was_saved_is_what_is_loaded(tmp_path, capsys):
    run = run_of(step_size=[0.1, 0.3])
    tw.save(run, tmp_path / "run")
    stored = tw.load(tmp_path / "run")
    for name, values in run.dataset.variables.items():
        np.testing.assert_array_equal(stored.dataset[name].values, values.values)
        assert stored.dataset[name].attrs.keys() == values.attrs.keys()
    attributes = stored.dataset.attrs
    assert attributes["optimizer"] == "gradient descent"
    assert json.loads(attributes["measurements"])["gfs"]["rtol"] == 1e-3
    assert "jax" in json.loads(attributes["versions"])
    assert stored.config["step_size"] == [0.1, 0.3]
    assert [one["status"] for one in stored.summary["runs"]] == ["completed"] * 2
    assert main(["plot", str(tmp_path / "run")]) == 0
    with pytest.raises(FileExistsError, match="already holds a run"):
        tw.save(run, tmp_path / "run")
    tw.save(run, tmp_path / "run", overwrite=True, name="again")
    assert tw.load(tmp_path / "run").config["experiment"] == "again"


def test_results_of_several_seeds_are_concatenated(tmp_path):
    runs = [run_of(START * scale, step_size=0.2).dataset for scale in (1.0, 1.1)]
    both = xr.concat([one.assign_coords(seed=("run", [i])) for i, one in enumerate(runs)], "run")
    tw.save(both, tmp_path)
    stored = tw.load(tmp_path)
    assert stored.dataset["seed"].values.tolist() == [0, 1]
    assert [one["steps"] for one in stored.summary["runs"]] == [10, 10]
    assert stored.summary["seconds"] is None
    for number, one in enumerate(runs):
        expected = tw.monotonicity(one["gfs_sharpness"][0], one["gfs_sharpness_error"][0]).verdict
        assert stored.summary["runs"][number]["monotonicity"]["verdict"] == expected


def test_a_run_without_measurements_or_that_diverged_can_be_saved(tmp_path):
    tw.save(tw.descend(NETWORK, START, step_size=0.1, steps=3), tmp_path / "plain")
    assert tw.load(tmp_path / "plain").summary["runs"][0]["final"]["sharpness"] is None
    along = tw.Along(NETWORK, tw.Sharpness(every=1))
    along.measure(0, START)
    tw.save(along, tmp_path / "along")
    (run,) = tw.load(tmp_path / "along").summary["runs"]
    assert (run["step_size"], run["threshold"], run["status"]) == (None, None, "stopped")


@pytest.mark.parametrize("nothing", [3, xr.Dataset()])
def test_what_is_no_run_is_refused_and_nothing_written(tmp_path, nothing):
    with pytest.raises(TypeError, match=r"run must be|none of runs"):
        tw.save(nothing, tmp_path / "run")
    assert not (tmp_path / "run").exists()
