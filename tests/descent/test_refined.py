"""Values where they tell most: schedules that are refined once a run has come to its end."""

import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import thalweg as tw
from marks import slow
from thalweg.descent import Quantity, read_checkpoint, write_checkpoint

SCALAR = tw.ScalarNetwork(4)
START = jnp.array([3.0, 1.0, 0.3, 0.3])


def parabola(w):
    return 0.5 * jnp.vdot(w, w)


def front(problem, w):
    """From 0 to 1 around w = 0.02, which steps of size 0.01 from 1 on pass at step 389."""
    return 0.5 * (1 - jnp.tanh(20 * jnp.log(w[0] / 0.02)))


def known(data, run=0, name="gfs"):
    one = data.isel(run=run)
    return one.sel({f"{name}_step": np.isfinite(one[f"{name}_status"].values)})


def test_values_are_spent_where_most_changes():
    each = Quantity("each", front)
    measured = Quantity("front", front, at=tw.Refined(tw.log_spaced(1000, 6), 16))
    data = tw.descend(
        parabola, jnp.ones(1), step_size=0.01, steps=1000, measurements=[each, measured]
    ).dataset.isel(run=0)
    steps = data["front_step"].values
    assert len(steps) == 16
    assert set(tw.log_spaced(1000, 6)) < set(steps.tolist())
    np.testing.assert_array_equal(data["front"], data["each"].sel(each_step=steps))
    further = np.setdiff1d(steps, tw.log_spaced(1000, 6))
    assert np.sum(np.abs(further - 389) < 20) >= 6  # the first ones halve the way to there

    def widest(steps):
        return np.abs(np.diff(data["each"].sel(each_step=steps))).max()

    even = np.linspace(0, 1000, 16).astype(int)
    assert widest(steps) < 0.3 < 0.9 < widest(even)


def test_no_more_is_measured_than_there_are_steps():
    measured = Quantity("front", front, at=tw.Refined((0,), 16))
    run = tw.descend(parabola, jnp.ones(1), step_size=0.01, steps=5, measurements=[measured])
    assert run.dataset["front_step"].values.tolist() == list(range(6))
    assert run.gradient_evaluations == 6 + 4  # the iterates between, once more


def test_each_run_has_values_of_its_own_and_each_is_that_of_its_iterate():
    gfs = tw.GFSSharpness(at=tw.Refined((0, 8), 11))
    sizes = [0.02, 0.2]
    run = tw.descend(SCALAR, START, step_size=sizes, steps=300, measurements=[gfs])
    steps = [known(run.dataset, number)["gfs_step"].values.tolist() for number in (0, 1)]
    assert [len(own) for own in steps] == [11, 11]
    assert steps[0] != steps[1]
    for number, size in enumerate(sizes):
        plain = tw.GFSSharpness(at=tuple(steps[number]))
        same = tw.descend(SCALAR, START, step_size=size, steps=300, measurements=[plain])
        xr.testing.assert_equal(
            known(run.dataset, number).drop_vars("gfs_gradient_evaluations"),
            known(same.dataset).drop_vars("gfs_gradient_evaluations"),
        )


def refined(method, **more):
    gfs = tw.GFSSharpness(at=tw.Refined((0, 2, 20), 9), method=method)
    return tw.descend(SCALAR, START, step_size=[0.05, 0.2], steps=60, measurements=[gfs], **more)


@pytest.mark.slow
def test_what_is_known_of_neighbours_is_of_those_that_are():
    data = refined(tw.flow.Stabilized()).dataset
    for number, size in enumerate((0.05, 0.2)):
        found = known(data, number)
        exact = tw.GFSSharpness(at=tuple(found["gfs_step"].values.tolist()))
        truth = tw.descend(SCALAR, START, step_size=size, steps=60, measurements=[exact]).dataset
        falls = -np.diff(truth["gfs_sharpness"].values[0])
        values, errors = found["gfs_sharpness"].values, found["gfs_sharpness_error"].values
        converged = found["gfs_status"].values == 0
        is_open = np.abs(np.diff(values)) <= errors[1:] + errors[:-1]
        is_open &= converged[1:] & converged[:-1]
        by_itself = np.isfinite(found["gfs_fall"].values)
        assert by_itself.tolist() == [*is_open.tolist(), False]
        apart = np.abs(found["gfs_fall"].values[:-1] - falls)
        assert (apart <= found["gfs_fall_error"].values[:-1] + 1e-14)[is_open].all()
        assert is_open.sum() == (1, 3)[number]


@pytest.mark.parametrize(
    ("method", "within_a_flow"),
    [(None, False), *slow((tw.flow.Stabilized(), False), (tw.flow.Stabilized(), True))],
)
def test_a_run_that_is_stopped_while_it_is_refined_goes_on_bit_for_bit(
    tmp_path, method, within_a_flow
):
    whole, path = refined(method), tmp_path / "checkpoint"
    stops = 0

    def report(progress):
        nonlocal stops
        refining = progress.step == progress.steps and progress.readings - 8 * progress.run >= 4
        if not refining or (progress.flow is not None) != within_a_flow:
            return False
        stops += 1
        if stops % 4 == 0:
            write_checkpoint(path, progress.checkpoint(), START)
        return stops % 4 == 0

    resumed = refined(method, report=report)
    sessions = 1
    while "stopped" in resumed.status:
        assert sessions < 60
        saved, _ = read_checkpoint(path, START)
        resumed = refined(method, report=report, checkpoint=saved)
        sessions += 1
    assert sessions > 1
    xr.testing.assert_identical(resumed.dataset, whole.dataset)
    assert resumed.gradient_evaluations == whole.gradient_evaluations
    np.testing.assert_array_equal(resumed.w, whole.w)


def test_a_budget_ends_it_and_a_run_that_diverges_is_not_refined():
    measured = Quantity("front", front, at=tw.Refined((0,), 9))
    given = {"steps": 8, "measurements": [measured]}
    run = tw.descend(parabola, jnp.ones(1), step_size=0.01, max_gradient_evaluations=11, **given)
    assert run.status == ["stopped"]
    assert run.dataset["front_step"].values.tolist() == [0, 2, 8]
    run = tw.descend(parabola, jnp.ones(1), step_size=1e9, **given)
    assert run.status == ["diverged"]
    assert run.dataset["front_step"].values.tolist() == [0, 8]


def test_iterates_that_come_once_are_not_refined():
    with pytest.raises(ValueError, match="give steps in place of Refined"):
        tw.Along(parabola, Quantity("front", front, at=tw.Refined((0,), 9)))
