"""Several seeds are runs of one experiment, each as with that seed alone; jobs share them."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from marks import slow, survival
from thalweg import experiments, results
from thalweg.cli import main
from thalweg.experiments import DigitsMLP, Network, Scalar, SquaredRegressionExperiment
from thalweg.runs import saving
from thalweg.runs.stored import command_of, experiment_of, stored

SMALL = DigitsMLP(
    samples=8, widths=(4,), steps=6, sharpness_every=3, gfs_every=6, gfs_also=(), rtol=1e-2
)
CLOSED = SquaredRegressionExperiment(data="random", steps=6, samples=4, dimension=5, gfs_every=2)
NETWORK = Network(
    **{"architecture": "mlp", "widths": (3,), "samples": 10, "image_size": 2, "steps": 4},
    **{"gfs_every": 4, "sharpness_every": 4, "rtol": 1e-2},
)

pytestmark = pytest.mark.usefixtures("little_is_drawn")


def kept(config, folder):
    """Run, and return what must be the same, and the folder's configuration."""
    experiments.run(config, folder)
    found = results.load(folder)
    runs = [{name: run[name] for name in run if name != "seed"} for run in found.summary["runs"]]
    data = found.dataset.drop_attrs(deep=False)
    return data.drop_vars("seed", errors="ignore"), runs, found


@pytest.mark.parametrize(
    ("config", "sizes"),
    [
        (CLOSED, {"step_size": (0.05, 0.1)}),
        *slow((SMALL, {"step_size": (0.2,)}), (NETWORK, {"relative_step_size": (0.5, 1.0)})),
    ],
)
def test_runs_of_each_seed_are_those_of_that_seed_alone(config, sizes, tmp_path):
    seeds = (3, 0)
    data, runs, found = kept(replace(config, seed=seeds, **sizes), tmp_path / "all")
    count = len(next(iter(sizes.values())))
    assert found.dataset["seed"].values.tolist() == [seed for seed in seeds for _ in range(count)]
    assert [run["seed"] for run in found.summary["runs"]] == found.dataset["seed"].values.tolist()
    assert len(set(data["loss"].values[:, 0].tolist())) == 2
    for place, seed in enumerate(seeds):
        own = slice(place * count, (place + 1) * count)
        alone, of_alone, _ = kept(replace(config, seed=seed, **sizes), tmp_path / str(seed))
        xr.testing.assert_identical(data.isel(run=own), alone)
        assert runs[own] == of_alone


def test_relative_step_sizes_of_several_seeds_are_stored_as_pairs(tmp_path):
    config = replace(CLOSED, seed=(0, 1), step_size=(), relative_step_size=(0.5, 0.9))
    _, _, found = kept(config, tmp_path)
    assert found.config["paired"]
    assert found.config["seed"] == [0, 0, 1, 1]
    assert found.config["step_size"] == found.dataset["step_size"].values.tolist()
    assert found.config["relative_step_size"] == []
    assert len(set(found.config["step_size"])) == 4
    again = experiment_of(found.config, experiments.EXPERIMENTS)
    sizes = tuple(found.config["step_size"])
    assert again.plan() == [(0, sizes[:2]), (1, sizes[2:])]


@pytest.mark.parametrize("of", [1, 4, 6])
def test_jobs_do_all_runs_once(of):
    whole = replace(SMALL, seed=(0, 1, 2), step_size=(0.1, 0.2))
    parts = [whole.part(index, of) for index in range(of)]
    done = [(seed, size) for part in parts for seed, own in part.plan() for size in own]
    assert sorted(done) == [(seed, size) for seed in (0, 1, 2) for size in (0.1, 0.2)]
    counts = [part.runs for part in parts]
    assert max(counts) - min(counts) <= 1
    for part in parts:
        part.check()
        read = json.loads(json.dumps(stored(part)))
        assert experiment_of(read, experiments.EXPERIMENTS) == part
        assert part.paired == (len(part.seeds) > 1)


def test_jobs_share_seeds_where_step_sizes_are_left_open_and_step_sizes_where_no_seeds_are():
    assert [replace(NETWORK, seed=(5, 6, 7)).part(i, 2).seed for i in (0, 1)] == [(5, 7), (6,)]
    relative = replace(NETWORK, seed=(5, 6), relative_step_size=(0.5, 0.9)).part(0, 3)
    assert relative.plan() == [(5, (0.5,)), (6, (0.9,))]
    assert "--relative-step-size 0.5 0.9 --seed 5 6 --paired" in command_of(relative, "DIR")
    assert Scalar(step_size=(0.1, 0.2, 0.3)).part(1, 2).step_size == (0.2,)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": ()}, "seed is empty"),
        ({"seed": (0, 0)}, "a seed is given twice"),
        ({"seed": (0, -1)}, "seed must be at least 0"),
        ({"seed": (0, 1), "paired": True}, "as many step sizes as seeds, got 1 and 2"),
        ({"seed": (0, 1, 0), "step_size": (1, 2, 3), "paired": True}, "given twice"),
    ],
)
def test_seeds_that_make_no_sense(options, message):
    with pytest.raises(ValueError, match=message):
        replace(SMALL, **options).check()


def test_a_start_is_built_of_one_seed():
    with pytest.raises(ValueError, match="a start has one seed"):
        replace(CLOSED, seed=(0, 1)).build()


@pytest.mark.parametrize("config", [CLOSED, *survival(SMALL)])
def test_a_run_that_stops_in_a_later_seed_goes_on_bit_for_bit(config, tmp_path, monkeypatch):
    monkeypatch.setattr(saving, "SHARE_OF_CHECKPOINTS", np.inf)
    config = replace(config, seed=(0, 1), step_size=(0.1,))
    whole, runs, _ = kept(config, tmp_path / "whole")
    experiments.run(config, tmp_path / "part", report=lambda p: p.run == 1 and p.step >= 2)
    assert results.load(tmp_path / "part").summary["runs"][1]["status"] == "stopped"
    experiments.resume(tmp_path / "part")
    found = results.load(tmp_path / "part")
    xr.testing.assert_identical(found.dataset.drop_attrs(deep=False).drop_vars("seed"), whole)
    assert [{k: v for k, v in run.items() if k != "seed"} for run in found.summary["runs"]] == runs


COMMAND = ["run", "squared-regression", "--steps", "4", "--step-size", "0.1", "0.2"]


@pytest.mark.slow
def test_seeds_and_jobs_on_the_command_line(tmp_path, capsys):
    jobs = [tmp_path / str(index) for index in range(4)]
    plan = [*COMMAND, "--seed", "0", "2", "5"]
    for index, folder in enumerate(jobs):
        assert main([*plan, "--index", str(index), "--of", "4", "--out", str(folder)]) == 0
    assert main([*plan, "--out", str(tmp_path / "all")]) == 0
    printed = capsys.readouterr().out
    assert printed.splitlines()[0].startswith("seed  step size  2/η")
    parts = [results.load(folder).dataset for folder in jobs]
    both = xr.concat(parts, "run").sortby(["seed", "step_size"])
    whole = results.load(tmp_path / "all").dataset
    for name in ("loss", "gfs_sharpness", "seed", "step_size"):
        np.testing.assert_array_equal(both[name], whole[name])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--index", "0"], "index and of belong together"),
        (["--index", "4", "--of", "4"], "index must be from 0 to 3"),
        (["--index", "0", "--of", "7", "--seed", "0", "1"], "nothing to do for 7 jobs, but for 4"),
        (["--seed", "0", "0"], "a seed is given twice"),
        (["--seed", "1", "one"], "one"),
    ],
)
def test_bad_jobs_and_seeds_are_one_line_and_touch_nothing(options, message, tmp_path, capsys):
    assert main([*COMMAND, *options, "--out", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert len(said.splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_two_jobs_do_not_share_a_folder(tmp_path, capsys):
    plan = [*COMMAND, "--of", "2", "--out", str(tmp_path)]
    assert main([*plan, "--index", "0"]) == 0
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert main([*plan, "--index", "1"]) == 2
    assert "already holds a run" in capsys.readouterr().err
    assert before == {path: path.read_bytes() for path in tmp_path.iterdir()}


@pytest.mark.slow
def test_the_script_for_an_array_of_jobs_runs_and_goes_on(tmp_path):
    script = Path(__file__).parents[2] / "examples" / "array.sbatch"
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        **{"SLURM_ARRAY_TASK_ID": "4", "SLURM_ARRAY_TASK_COUNT": "6"},
        **{"OUT": str(tmp_path), "EXPERIMENT": "squared-regression"},
    }
    for said in ("Results, summary and figure are in", "nothing to continue"):
        done = subprocess.run(
            ["bash", str(script), "--steps", "4"], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert said in done.stdout
    dataset = results.load(tmp_path / "4").dataset
    assert (dataset["seed"].values, dataset["step_size"].values) == ([2], [0.15])
