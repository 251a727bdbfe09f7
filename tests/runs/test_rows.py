"""Many run folders in one table."""

import csv
import io
import math
import shutil
import subprocess
import sys

import jax.numpy as jnp
import pytest
from matplotlib.figure import Figure

import thalweg as tw
from thalweg import experiments, results
from thalweg.cli import main
from thalweg.descent import Starts
from thalweg.experiments import Scalar, ScalarSweepStudy, SquaredRegressionExperiment
from thalweg.runs.rows import COLUMNS
from thalweg.scalar import ScalarNetwork

FIRST = Scalar(step_size=(0.25, 0.1), steps=16, sharpness_every=3, gfs_every=5)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Return runs of several kinds: by a command, from Python, a study, one that was stopped."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        empty = Figure(figsize=(0.1, 0.1))
        patch.setattr("thalweg.runs.figure.plot", lambda dataset, **options: empty)
        make(folder)
    return folder


def make(folder):
    experiments.run(FIRST, folder / "scalar")
    regression = SquaredRegressionExperiment(
        **{"steps": 6, "seed": (4, 1), "step_size": (0.05,), "data": "random"},
        **{"samples": 4, "dimension": 5},
    )
    experiments.run(regression, folder / "regression")
    starts = Starts([jnp.array([1.8, 0.9]), jnp.array([1.5, 1.1])])
    run = tw.descend(
        ScalarNetwork(2), starts, step_size=0.1, steps=4, measurements=tw.Sharpness(every=2)
    )
    tw.save(run, folder / "saved", name="by hand")
    study = ScalarSweepStudy(depth=(2,), step_size=(0.3, 0.4), starts=5, steps=10, gfs_steps=2)
    experiments.run(study, folder / "sweep")
    experiments.run(FIRST, folder / "stopped", report=lambda progress: progress.step >= 7)


def test_rows_are_what_results_and_summary_say(folders):
    rows = results.table([folders / "scalar"])
    stored = results.load(folders / "scalar")
    assert len(rows) == 2
    for number, (row, run) in enumerate(zip(rows, stored.summary["runs"], strict=True)):
        assert set(row) == set(COLUMNS)
        assert (row["experiment"], row["architecture"], row["seed"]) == ("scalar", "depth 4", None)
        for name in ("step_size", "threshold", "steps", "status"):
            assert row[name] == run[name]
        assert row["loss"] == run["final"]["loss"]
        assert row["sharpness"] == run["final"]["sharpness"]
        assert row["last"] == run["final"]["gfs_sharpness"]
        assert row["last_error"] == run["final"]["gfs_sharpness_error"]
        data = stored.dataset.isel(run=number)
        assert row["first"] == data["gfs_sharpness"].values[0]
        assert row["first_error"] == data["gfs_sharpness_error"].values[0]
        for name in ("verdict", "falls", "rises", "undecided"):
            assert row[name] == run["monotonicity"][name]


def test_all_kinds_of_folders_have_rows(folders):
    rows = results.table([folders])
    of = {name: [row for row in rows if row["folder"].endswith(name)] for name in
          ("scalar", "regression", "saved", "sweep", "stopped")}  # fmt: skip
    assert [row["seed"] for row in of["regression"]] == [4, 1]
    assert [(row["experiment"], row["start"]) for row in of["saved"]] == [
        ("by hand", 0),
        ("by hand", 1),
    ]
    assert all(row["first"] is None and row["verdict"] is None for row in of["saved"])
    assert all(math.isfinite(row["sharpness"]) for row in of["saved"])
    assert [row["step_size"] for row in of["sweep"]] == [0.3, 0.4]
    assert all(row["verdict"] for row in of["sweep"])
    assert [row["status"] for row in of["stopped"]] == ["stopped", "stopped"]
    assert of["stopped"][0]["steps"] >= 7
    assert of["stopped"][1]["first"] is None


def test_options_in_which_runs_differ_have_a_column(folders, tmp_path):
    experiments.run(Scalar(steps=3, target=2.0), tmp_path / "other")
    rows = results.table([folders / "scalar", tmp_path / "other"])
    assert [row["target"] for row in rows] == [1.0, 1.0, 2.0]
    assert {"gfs_every", "sharpness_every"} <= set(rows[0])
    assert "rtol" not in rows[0]


def test_runs_without_results_are_listed_too(folders, tmp_path):
    (tmp_path / "begun").mkdir()
    shutil.copy(folders / "regression" / "config.json", tmp_path / "begun")
    (row,) = results.table([tmp_path / "begun"])
    assert (row["status"], row["seed"], row["loss"]) == ("no results yet", [4, 1], None)
    shutil.copy(folders / "regression" / "result.nc", tmp_path / "begun")
    rows = results.table([tmp_path / "begun"])
    assert [(row["status"], row["seed"], row["steps"]) for row in rows] == [
        ("unfinished", 4, 6),
        ("unfinished", 1, 6),
    ]
    assert all(row["verdict"] for row in rows)


def test_the_command_prints_columns_or_csv(folders, capsys):
    names = [str(folders / name) for name in ("scalar", "regression")]
    assert main(["table", *names]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:4] == ["folder", "experiment", "architecture", "seed"]
    assert len(lines) == 5
    assert "±" in lines[1]
    assert main(["table", *names, "--csv"]) == 0
    read = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    rows = results.table(names)
    assert [float(row["last"]) for row in read] == [row["last"] for row in rows]
    assert [row["seed"] for row in read] == ["", "", "4", "1"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name the folders of runs"),
        (["nowhere"], "nowhere is not a folder"),
        (["{}"], "holds no run: config.json is missing"),
    ],
)
def test_bad_folders_are_one_line(arguments, message, tmp_path, capsys):
    assert main(["table", *(argument.format(tmp_path) for argument in arguments)]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert len(said.splitlines()) == 1


def test_a_damaged_folder_is_named(folders, tmp_path, capsys):
    shutil.copytree(folders / "scalar", tmp_path / "damaged")
    content = bytearray((tmp_path / "damaged" / "result.nc").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "damaged" / "result.nc").write_bytes(content)
    assert main(["table", str(folders / "scalar"), str(tmp_path / "damaged")]) == 2
    assert "damaged/result.nc is damaged" in capsys.readouterr().err


@pytest.mark.slow
def test_the_table_does_not_wait_for_jax(folders):
    program = (
        "import sys; from thalweg.cli import main; main(sys.argv[1:]); print('jax' in sys.modules)"
    )
    command = [sys.executable, "-c", program, "table", str(folders / "scalar")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"
