"""Runs that are cut off anywhere go on as if nothing had happened, bit for bit."""

import numpy as np
import pytest
import xarray as xr

from thalweg import experiments, results
from thalweg.experiments import DigitsMLP, Scalar, SquaredRegressionExperiment, runner, saving

SHORT = {
    "scalar": Scalar(step_size=(0.25, 0.1), steps=16, sharpness_every=3, gfs_every=5),
    "squared-regression": SquaredRegressionExperiment(
        data="random",
        step_size=(0.05,),
        steps=30,
        sharpness_every=7,
        gfs_every=10,
        samples=4,
        dimension=5,
    ),
    "digits-mlp": DigitsMLP(
        samples=12, widths=(5,), steps=30, sharpness_every=10, gfs_every=10, gfs_start=10, rtol=1e-3
    ),
}


class KilledError(BaseException):
    """In place of a signal that cannot be caught."""


@pytest.fixture(autouse=True)
def save_at_every_report(monkeypatch):
    monkeypatch.setattr(saving, "INTERVAL", 0.0)
    monkeypatch.setattr(saving, "SHARE_OF_CHECKPOINTS", np.inf)


def numbers(folder):
    """Return everything in a run folder that must not depend on interruptions."""
    stored = results.load(folder)
    summary = dict(stored.summary)
    del summary["seconds"]
    return stored.dataset, stored.config, summary


def assert_same(one, other):
    xr.testing.assert_identical(one[0], other[0])
    for name, values in one[0].variables.items():
        assert values.values.tobytes() == other[0][name].values.tobytes(), name
    assert one[1:] == other[1:]


@pytest.mark.parametrize("name", SHORT)
def test_a_run_killed_again_and_again_ends_with_the_same_bits(name, tmp_path):
    experiments.run(SHORT[name], tmp_path / "whole")
    folder, reports = tmp_path / "run", 0

    def deadly(progress):
        nonlocal reports
        reports += 1
        if reports % 5 == 0:  # so that every part of the run is repeated
            raise KilledError

    prepared, kills = runner.prepare(SHORT[name], folder), 0
    while True:
        try:
            prepared.run(deadly)
            break
        except KilledError:
            kills += 1
            prepared = runner.prepare_to_resume(folder)
    assert kills > 2
    assert_same(numbers(tmp_path / "whole"), numbers(folder))
    assert {entry.name for entry in folder.iterdir()} == {
        "config.json",
        "result.nc",
        "summary.json",
        "figure.png",
    }
