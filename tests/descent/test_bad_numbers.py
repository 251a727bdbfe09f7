"""Numbers go wrong on the way: a status of the run or the measurement, and all else goes on."""

import json
import math

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st

import thalweg as tw
from bad_inputs import assert_refused, examples, snapshot, thalweg
from marks import slow
from thalweg.descent import RunStatus, descend
from thalweg.runs.summary import summarise

BOTH = [tw.Sharpness(every=2), tw.GFSSharpness(every=2, max_gradient_evaluations=3000)]


def summary_of(loss, w, **options):
    run = descend(loss, jnp.asarray(w), measurements=BOTH, **{"steps": 4} | options)
    summary = summarise("test", run)
    json.dumps(summary, allow_nan=False)
    return run, summary["runs"]


def rough(w):
    """A loss whose second derivative is infinite where a coordinate is zero."""
    return 0.5 * jnp.vdot(w[1:], w[1:]) + jnp.sum(jnp.abs(w[:1]) ** 1.5)


def walled(w):
    """A loss that is not a number beyond a wall, which the flow reaches and GD does not."""
    return jnp.where(w[0] > 0.5, w[0] + 0.5 * w[0] ** 2 + 0.5 * w[1] ** 2, jnp.nan)


def endless(w):
    """A loss whose infimum is nowhere reached."""
    return jnp.exp(-w[0]) + 0.5 * w[1] ** 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("loss", "w", "step_size", "unsettled", "is_sharp"),
    [
        (rough, [0.0, 1.0], 0.5, 3, False),
        (walled, [2.0, 1.0], 0.1, 3, True),
        (endless, [1.0, 1.0], 0.1, 3, True),
    ],
)
def test_flows_that_do_not_settle_are_counted_and_decide_nothing(
    loss, w, step_size, unsettled, is_sharp
):
    run, (entry,) = summary_of(loss, w, step_size=step_size)
    assert run.status == [RunStatus.COMPLETED]
    assert np.isfinite(run.dataset["loss"].values).all()
    assert np.isnan(run.dataset["gfs_sharpness"].values).all()
    assert np.isfinite(run.dataset["gfs_sharpness_reached"].values).all() == is_sharp
    assert np.isfinite(run.dataset["sharpness"].values).all() == is_sharp
    assert entry["unconverged"] == {"sharpness": 0 if is_sharp else 3, "gfs_sharpness": unsettled}
    assert entry["final"]["gfs_sharpness"] is None
    assert (entry["final"]["sharpness"] is not None) == is_sharp
    assert entry["monotonicity"]["verdict"] == "undecided"
    assert entry["monotonicity"]["falls"] == entry["monotonicity"]["rises"] == 0
    assert any(line.startswith("Gradient flow from steps 0, 2, 4: ") for line in entry["advice"])


@pytest.mark.slow
def test_a_verdict_ignores_the_values_of_flows_that_did_not_settle():
    """The budget lets some flows settle: only these count, and leave values."""
    loss = tw.Supervised(lambda w, x: jnp.tanh(x @ w[0]) @ w[1], np.eye(3), np.ones((3, 1)))
    w = (0.3 * jnp.ones((3, 2)), jnp.asarray([[0.5], [0.2]]))
    work = [
        float(tw.gradient_flow_solution(loss, w, rtol=rtol).gradient_evaluations)
        for rtol in (1e-3, 1e-3)
    ]
    measured = tw.GFSSharpness(every=1, rtol=1e-3, max_gradient_evaluations=0.5 * work[0])
    run = descend(loss, w, step_size=0.5, steps=40, measurements=[tw.Sharpness(), measured])
    (entry,) = summarise("test", run)["runs"]
    status = run.dataset["gfs_status"].values[0]
    settled = np.isin(status, [one for one in tw.Status if one.is_settled])
    assert 0 < entry["unconverged"]["gfs_sharpness"] == np.sum(status != 0)
    assert not settled[0]
    values = run.dataset["gfs_sharpness"].values[0]
    assert np.isfinite(values).tolist() == settled.tolist()
    reached = run.dataset["gfs_sharpness_reached"].values[0]
    assert np.isfinite(reached).tolist() == (~settled).tolist()
    assert entry["final"]["gfs_sharpness"] == (values[-1] if settled[-1] else None)
    pairs = int(np.sum(settled[1:] & settled[:-1]))
    assert entry["monotonicity"]["falls"] + entry["monotonicity"]["rises"] <= pairs


@pytest.mark.slow
@pytest.mark.parametrize("step_size", [1.7e308, *slow(3.0)])
def test_runs_that_diverge_or_overflow_end_there_and_the_next_one_begins(step_size):
    run, entries = summary_of(
        lambda w: 0.25 * jnp.sum((w**2 - 1) ** 2), [1.5, 2.0], step_size=[step_size, 0.01], steps=8
    )
    assert run.status == [RunStatus.DIVERGED, RunStatus.COMPLETED]
    assert entries[0]["status"] == "diverged"
    assert entries[0]["final"]["loss"] is not None
    assert entries[1]["final"]["gfs_sharpness"] is not None


EXTREME = st.sampled_from(["1e-320", "1e-300", "1e-30", "1e-9", "1e9", "1e30", "1e99"])
SMALL = {
    "scalar": ["--steps", 3, "--gfs-every", 3],
    "squared-regression": ["--steps", 2, "--gfs-every", 2, "--samples", 3, "--dimension", 3],
    "scalar-plane": ["--steps", 3],
    "scalar-sweep": ["--steps", 5, "--starts", 3, "--step-sizes", 3, "--gfs-steps", 2],
    "scalar-bifurcation": ["--steps", 5, "--starts", 2, "--step-sizes", 3, "--kept", 33],
}
OPTIONS = {
    "scalar": ["--step-size", "--target", "--rtol", "--max-gradient-evaluations"],
    "squared-regression": ["--step-size", "--scale", "--rtol", "--max-gradient-evaluations"],
    "scalar-plane": ["--step-size", "--target"],
    "scalar-sweep": ["--step-size", "--target", "--margin", "--spread"],
    "scalar-bifurcation": ["--step-size", "--target", "--highest", "--lowest"],
}


@pytest.mark.slow
@examples(
    25,
    chosen=st.sampled_from(
        [(name, option) for name, options in OPTIONS.items() for option in options]
    ),
    value=EXTREME,
)
def test_numbers_at_the_ends_of_what_there_is(chosen, value, tmp_path):
    """They are refused, or run to an end that can be told."""
    (name, option), folder = chosen, tmp_path / f"{len(snapshot(tmp_path))}"
    command = ["run", name, "--out", folder, *SMALL[name], option, value]
    code, _, err = thalweg(*command)
    if code:
        assert_refused(tmp_path, *command)
        return
    assert not any(line.startswith("thalweg: error") for line in err.splitlines())
    summary = json.loads((folder / "summary.json").read_text(), parse_constant=pytest.fail)
    assert all(run["status"] in ("completed", "diverged") for run in summary["runs"])
    for run in summary["runs"]:
        assert all(value is None or math.isfinite(value) for value in run["final"].values())
