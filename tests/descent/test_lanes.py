"""Flows of a descent side by side give what they give one by one."""

import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import thalweg as tw
from cases import squared_regression
from thalweg.descent import Quantity, read_checkpoint, write_checkpoint

PROBLEM, START = squared_regression()
SIZE = Quantity("size", lambda problem, w: jnp.linalg.norm(w["u"]))
FLOWS = tw.GFSSharpness(every=3, also=(1,), rtol=1e-3, method=tw.flow.Stabilized())


def descended(**options):
    given = {"step_size": [0.05, 0.1], "steps": 12, "measurements": [SIZE, FLOWS]}
    return tw.descend(PROBLEM, START, **(given | options))


@pytest.fixture(scope="module")
def one_by_one():
    return descended()


@pytest.fixture
def batches(monkeypatch):
    """The batches of flows, as they are made: for each flow whether it had begun before."""
    solve, made = tw.GFSSharpness.ahead, []

    def ahead(self, problem, ws, memory, lanes, report, standing):
        made.append([one is not None and one.flow is not None for one in standing])
        assert len(ws) <= lanes
        return solve(self, problem, ws, memory, lanes, report, standing)

    monkeypatch.setattr(tw.GFSSharpness, "ahead", ahead)
    return made


def assert_alike(found, expected):
    for name in ("loss", "size"):  # of the same iterates, bit for bit
        xr.testing.assert_identical(found.dataset[name], expected.dataset[name])
    np.testing.assert_array_equal(found.dataset["gfs_status"], expected.dataset["gfs_status"])
    bars = found.dataset["gfs_sharpness_error"] + expected.dataset["gfs_sharpness_error"]
    apart = abs(found.dataset["gfs_sharpness"] - expected.dataset["gfs_sharpness"])
    assert ((apart <= bars) | (np.isnan(apart) & np.isnan(bars))).all()
    made = [np.isfinite(one.dataset["gfs_sharpness"]) for one in (found, expected)]
    np.testing.assert_array_equal(*made)
    assert (found.status, found.steps) == (expected.status, expected.steps)


def test_flows_of_coming_iterates_are_solved_side_by_side(one_by_one, batches):
    run = descended(lanes=3)
    # At 0, 1, 3; 6, 9, 12. The start is known to the second run: 1, 3, 6; 9, 12.
    assert list(map(len, batches)) == [3, 3, 3, 2]
    assert_alike(run, one_by_one)
    steps_ahead = (3 - 0) + (12 - 6) + (6 - 1) + (12 - 9)
    flows = [one.dataset["gfs_gradient_evaluations"].sum().item() for one in (run, one_by_one)]
    steps = [
        one.gradient_evaluations - two for one, two in zip((run, one_by_one), flows, strict=True)
    ]
    assert steps[0] - steps[1] == pytest.approx(steps_ahead)


def test_a_run_that_diverges_ends_where_it_does(batches):
    given = {"step_size": 2.0, "lanes": 4}
    run, alone = descended(**given), descended(**(given | {"lanes": 1}))
    assert run.status == ["diverged"]
    assert 1 <= len(batches[0]) < 4
    assert_alike(run, alone)


def test_one_lane_solves_nothing_ahead(batches, one_by_one):
    xr.testing.assert_identical(descended(lanes=1).dataset, one_by_one.dataset)
    assert batches == []


@pytest.mark.parametrize("lanes", [3, 2])  # the session after may have another number
def test_a_batch_that_is_interrupted_goes_on_from_there(lanes, one_by_one, batches, tmp_path):
    path, reports = tmp_path / "checkpoint", 0

    def report(progress):
        nonlocal reports
        reports += progress.flow is not None
        if reports == 4:
            write_checkpoint(path, progress.checkpoint(), START)
        return reports == 4

    stopped = descended(lanes=3, report=report)
    assert stopped.status[0] == "stopped"
    assert np.isnan(stopped.dataset["gfs_sharpness"]).all()
    assert stopped.gradient_evaluations > 100
    saved, _ = read_checkpoint(path, START)
    assert saved.under_way
    assert (saved.step, saved.ahead) == (0, {})
    run = descended(lanes=lanes, checkpoint=saved)
    assert len(batches[1]) == lanes
    assert any(batches[1])
    assert_alike(run, one_by_one)


def test_what_was_solved_ahead_is_kept_by_checkpoints(one_by_one, batches, tmp_path):
    path = tmp_path / "checkpoint"

    def report(progress):
        between = progress.flow is None and progress.step == 2
        if between:
            write_checkpoint(path, progress.checkpoint(), START)
        return between

    whole = descended(lanes=3)
    before = len(batches)
    descended(lanes=3, report=report)  # told of step 2 by `SIZE`, which is measured at every step
    saved, _ = read_checkpoint(path, START)
    assert list(saved.ahead) == [(3, 1)]
    run = descended(lanes=3, checkpoint=saved)
    assert list(map(len, batches[before:])) == [3, 3, 3, 2]
    xr.testing.assert_identical(run.dataset, whole.dataset)
    assert run.gradient_evaluations == whole.gradient_evaluations
    assert_alike(run, one_by_one)


def test_reports_are_of_all_flows_together():
    told = []

    def report(progress):
        if progress.flow is not None and progress.step == 0:
            told.append((progress.flow.gradient_evaluations, progress.flow.fraction))

    run = descended(lanes=3, report=report, step_size=0.05)
    work = run.dataset["gfs_gradient_evaluations"].values[0, :3].sum()
    evaluations, fractions = np.transpose(told)
    assert (np.diff(evaluations) >= 0).all()
    assert 0.5 * work < evaluations[-1] <= work
    assert fractions.min() > 0
    assert fractions.max() <= 1


def test_a_budget_ends_a_batch():
    run = descended(lanes=3, max_gradient_evaluations=3000)
    assert run.status == ["stopped", "stopped"]
    assert 3000 < run.gradient_evaluations < 5000
    assert np.isnan(run.dataset["gfs_sharpness"]).all()


def test_lanes_must_be_a_number():
    with pytest.raises(ValueError, match="lanes must be"):
        descended(lanes=0)
