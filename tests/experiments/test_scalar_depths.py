"""Scalar networks of several depths: runs are those of each depth, and figures tell them apart."""

import numpy as np
import pytest

from thalweg import experiments, results
from thalweg.experiments import Scalar, ScalarDepths
from thalweg.figures import plot


@pytest.mark.usefixtures("little_is_drawn")
def test_runs_are_those_of_each_depth_by_itself(tmp_path):
    config = ScalarDepths(depth=(2, 5), step_size=(0.2, 0.25), steps=12)
    summary = experiments.run(config, tmp_path / "depths")
    data = results.load(tmp_path / "depths").dataset
    assert data["depth"].values.tolist() == [2, 2, 5, 5]
    assert [run["depth"] for run in summary["runs"]] == [2, 2, 5, 5]
    alone = Scalar(depth=5, step_size=(0.2, 0.25), steps=12, gfs_every=1)
    one = experiments.run(alone, tmp_path / "alone")
    stored = results.load(tmp_path / "alone").dataset
    for name in ("loss", "sharpness", "gfs_sharpness", "gfs_sharpness_error"):
        np.testing.assert_allclose(data[name].values[2:], stored[name].values, rtol=1e-12)
    for run, other in zip(summary["runs"][2:], one["runs"], strict=True):
        assert run["monotonicity"]["verdict"] == other["monotonicity"]["verdict"]
    titles = [axes.get_title().partition(", $2")[0].strip() for axes in plot(data).axes[:4]]
    assert titles == [
        r"depth 2, $\eta$ = 0.2", r"depth 2, $\eta$ = 0.25",
        r"depth 5, $\eta$ = 0.2", r"depth 5, $\eta$ = 0.25",
    ]  # fmt: skip
    assert "depth 5, step size 0.25, 2/η = 8: completed" in config.report(summary)


def test_left_out_the_threshold_is_a_share_of_what_the_start_has():
    data, runs = ScalarDepths(depth=(3,), steps=3, share=0.7).compute()
    start = float(data["gfs_sharpness"][0, 0])
    assert runs[0]["threshold"] == pytest.approx(0.7 * start, rel=1e-12)


@pytest.mark.parametrize(
    ("options", "said"),
    [({"depth": ()}, "depth is empty"), ({"depth": (1,)}, "at least 2"), ({"steps": 0}, "steps")],
)
def test_what_makes_no_sense_is_refused(options, said):
    with pytest.raises(ValueError, match=said):
        ScalarDepths(**options).check()
