"""Results concatenated over seeds are drawn as they are: every seed is a run."""

import numpy as np
import pytest
import xarray as xr

import thalweg as tw
from drawn import assert_legible, curves, edge_of_stability, failures, panels, visible_texts
from thalweg.figures import side_by_side

SEEDS = xr.Variable("seed", [3, 5])


def of_two_seeds(step_sizes=(0.2,)):
    return [edge_of_stability(step_sizes), edge_of_stability(step_sizes, error=1e-4)]


def along_run():
    """Return both with the coordinate that runs of several seeds have."""
    named = [
        one.assign_coords(seed=("run", [seed]))
        for seed, one in zip([3, 5], of_two_seeds(), strict=True)
    ]
    return xr.concat(named, "run")


CONCATENATED = {
    "seed and run": lambda: xr.concat(of_two_seeds(), SEEDS),
    "seed alone": lambda: xr.concat([one.isel(run=0) for one in of_two_seeds()], SEEDS),
    "seed and step size": lambda: along_run().set_index(run=["seed", "step_size"]).unstack("run"),
}


@pytest.mark.parametrize("name", CONCATENATED)
def test_a_dimension_of_seeds_is_drawn_as_runs(name):
    expected, found = (panels(tw.figures.plot(one)) for one in (along_run(), CONCATENATED[name]()))
    assert list(found) == list(expected)
    titles = [axes.get_title() for axes in found["loss"]]
    assert titles == [axes.get_title() for axes in expected["loss"]]
    assert ["seed 3" in titles[0], "seed 5" in titles[1]] == [True, True]
    for panel in found:
        for one, other in zip(found[panel], expected[panel], strict=True):
            for line, same in zip(curves(one), curves(other), strict=True):
                np.testing.assert_array_equal(line.get_ydata(), same.get_ydata())
            assert failures(one) == failures(other)


def test_six_runs_of_two_seeds_are_legible():
    figure = tw.figures.plot(xr.concat(of_two_seeds((0.1, 0.2, 0.3)), SEEDS))
    shown = " ".join(text.get_text() for text in visible_texts(figure))
    assert all(shown.count(f"seed {seed}") >= 3 for seed in (3, 5))
    assert_legible(figure)


def test_columns_of_several_results_take_seeds_too():
    column = xr.concat(of_two_seeds((0.1, 0.2)), SEEDS)
    figure = side_by_side({"mlp": column, "vgg": edge_of_stability((0.3,))})
    assert "seed 3" in panels(figure)["loss"][0].get_title()


def test_a_dataset_of_seeds_is_saved_with_all_its_runs(tmp_path):
    tw.save(xr.concat(of_two_seeds((0.1, 0.2)), SEEDS), tmp_path / "run", name="seeds")
    stored = tw.load(tmp_path / "run")
    assert stored.dataset["seed"].values.tolist() == [3, 3, 5, 5]
    assert [run["seed"] for run in stored.summary["runs"]] == [3, 3, 5, 5]
    assert [row["seed"] for row in tw.results.table([tmp_path / "run"])] == [3, 3, 5, 5]
