import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

import thalweg as tw
from bad_inputs import without_progress
from marks import slow
from thalweg import cli, results
from thalweg.display import Display
from thalweg.runs import runner

PROJECT = Path(__file__).parents[2] / "pyproject.toml"
FEW = ["--steps", "12", "--sharpness-every", "6", "--gfs-every", "4"]


@pytest.fixture
def thalweg(capsys):
    """Run the command line in this process; return exit code, stdout and stderr."""

    def run(*arguments):
        code = cli.main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.mark.parametrize("experiment", ["scalar", *slow("squared-regression")])
def test_an_experiment_end_to_end(experiment, thalweg, tmp_path):
    folder = tmp_path / "deep" / "run"
    code, out, err = thalweg("run", experiment, "--out", folder, *FEW)
    assert code == 0
    assert {entry.name for entry in folder.iterdir()} == {
        "config.json",
        "result.nc",
        "summary.json",
        "figure.png",
    }
    summary = json.loads((folder / "summary.json").read_text(), parse_constant=pytest.fail)
    assert summary["experiment"] == experiment
    assert summary["runs"][0]["steps"] == 12
    data = results.load(folder).dataset
    assert data["loss"].shape == (1, 13)
    assert data["gfs_step"].values.tolist() == [0, 4, 8, 12]
    assert data["loss"].dtype == np.float64
    for shown in (str(folder), "2/η", "completed", "3 falls", "gradient evaluations", " ± "):
        assert shown in out, shown
    assert "step 12 of 12" in err


@pytest.mark.usefixtures("little_is_drawn")
def test_options_reach_the_run(thalweg, tmp_path):
    code, out, _ = thalweg(
        "run", "scalar", "--out", tmp_path / "run", *FEW, "--step-size", 0.1, 0.2,
        "--init", 2, 1, 0.5, 1, "--target", 1.5, "--rtol", 1e-6, "--gfs-start", 5,
        "--gfs-also", 7, 2, "--max-gradient-evaluations", 1000,
    )  # fmt: skip
    assert code == 0
    config = results.load(tmp_path / "run").config
    assert config == {
        "experiment": "scalar",
        "step_size": [0.1, 0.2],
        "steps": 12,
        "sharpness_every": 6,
        "gfs_every": 4,
        "gfs_start": 5,
        "gfs_also": [7, 2],
        "gfs_at": [],
        "gfs_points": None,
        "rtol": 1e-6,
        "max_gradient_evaluations": 1000.0,
        "max_flow_seconds": None,
        "lanes": None,
        "relative_step_size": [],
        "depth": 4,
        "init": [2.0, 1.0, 0.5, 1.0],
        "target": 1.5,
        "certify": False,
        "rigorous": False,
    }
    data = results.load(tmp_path / "run").dataset
    np.testing.assert_allclose(data["step_size"], [0.1, 0.2])
    assert data["gfs_step"].values.tolist() == [2, 5, 7, 9, 12]
    assert float(data["loss"][0, 0]) == pytest.approx(0.5 * (1.0 - 1.5) ** 2)
    assert len(out.splitlines()) <= 6


@pytest.mark.usefixtures("little_is_drawn")
def test_a_folder_that_holds_a_run_is_left_alone(thalweg, tmp_path):
    assert thalweg("run", "scalar", "--out", tmp_path / "run", *FEW)[0] == 0
    before = {entry: entry.read_bytes() for entry in (tmp_path / "run").iterdir()}
    code, out, err = thalweg("run", "scalar", "--out", tmp_path / "run", "--steps", 3)
    assert (code, out) == (2, "")
    assert "already holds a run" in err
    assert err.count("\n") == 1
    assert {entry: entry.read_bytes() for entry in (tmp_path / "run").iterdir()} == before
    code, _, _ = thalweg("run", "scalar", "--out", tmp_path / "run", "--steps", 3, "--overwrite")
    assert code == 0
    assert results.load(tmp_path / "run").dataset.sizes["step"] == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["run", "no-such", "--out", "OUT"],
            "'no-such'; known: digits-mlp, network, scalar, scalar-depths",
        ),
        (["run", "--out", "OUT"], "name an experiment right after `run`; known: digits-mlp"),
        (["run"], "name an experiment"),
        (["run", "scalar"], "--out"),
        (["run", "scalar", "--out", "OUT", "--step-size", "0"], "step_size must be positive"),
        (["run", "scalar", "--out", "OUT", "--step-size", "-0.1"], "step_size must be positive"),
        (["run", "scalar", "--out", "OUT", "--step-size", "nan"], "step_size must be positive"),
        (["run", "scalar", "--out", "OUT", "--step-size"], "step_size is empty"),
        (["run", "scalar", "--out", "OUT", "--step-size", "fast"], "--step-size"),
        (["run", "scalar", "--out", "OUT", "--steps", "-3"], "steps must be at least 1"),
        (["run", "scalar", "--out", "OUT", "--steps", "1.5"], "--steps"),
        (["run", "scalar", "--out", "OUT", "--rtol", "0"], "rtol must be positive"),
        (["run", "scalar", "--out", "OUT", "--no-such", "1"], "--no-such"),
        (["run", "scalar", "--out", "OUT", "--init", "1e200", "1e200"], "loss at the start"),
        (["run", "scalar", "--out", "OUT", "--depth", "3", "--init", "1", "1"], "init holds 2"),
        (["run", "digits-mlp", "--out", "OUT", "--samples", "5000"], "between 1 and 1797"),
        (["run", "scalar", "--out", "FILE"], "is a file"),
        (["plot", "OUT"], "holds no run"),
        (["plot"], "PATH"),
        (["list", "everything"], "takes no options"),
        (["dance"], "unknown command 'dance'; known: run, resume, plot, table, reproduce"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(arguments, message, thalweg, tmp_path):
    (tmp_path / "file").write_text("precious")
    places = {"OUT": tmp_path / "out", "FILE": tmp_path / "file"}
    code, out, err = thalweg(*(places.get(argument, argument) for argument in arguments))
    err = without_progress(err)
    assert (code, out) == (2, "")
    assert err.startswith("thalweg: error: ")
    assert message in err
    assert err.count("\n") == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "precious"


@pytest.mark.usefixtures("little_is_drawn")
def test_an_interrupt_writes_what_there_is(thalweg, tmp_path, monkeypatch):
    class Impatient(Display):
        def __call__(self, progress):
            if progress.step >= 8:
                raise KeyboardInterrupt

    monkeypatch.setattr("thalweg.display.watched.Display", Impatient)
    code, out, _ = thalweg("run", "scalar", "--out", tmp_path / "run", *FEW)
    assert code == 130
    assert "stopped" in out
    assert str(tmp_path / "run") in out
    stored = results.load(tmp_path / "run")
    assert stored.summary["runs"][0]["status"] == "stopped"
    assert np.isfinite(stored.dataset["loss"].values).sum() == 9


@pytest.mark.usefixtures("little_is_drawn")
def test_an_interrupt_before_the_descent_has_its_exit_code_too(thalweg, tmp_path, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(runner, "prepare_claimed", interrupted)
    monkeypatch.setattr(runner, "prepare_to_resume", interrupted)
    code, out, err = thalweg("run", "scalar", "--out", tmp_path / "run", *FEW)
    again = f"`thalweg resume {tmp_path / 'run'}` begins again"
    assert (code, out, without_progress(err)) == (130, "", f"thalweg: interrupted; {again}\n")
    assert [entry.name for entry in (tmp_path / "run").iterdir()] == ["config.json"]
    code, _, err = thalweg("resume", tmp_path / "run")
    assert (code, without_progress(err)) == (130, "thalweg: interrupted\n")
    monkeypatch.undo()
    assert thalweg("resume", tmp_path / "run")[0] == 0
    assert results.load(tmp_path / "run").summary["runs"][0]["steps"] == 12


def test_an_error_of_ours_is_not_dressed_up_as_bad_input(thalweg, tmp_path, monkeypatch):
    def broken(*arguments, **options):
        raise ValueError("a bug")

    monkeypatch.setattr(runner.descent, "descend", broken)
    with pytest.raises(ValueError, match="a bug"):
        thalweg("run", "scalar", "--out", tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("little_is_drawn")
def test_an_error_of_ours_costs_no_old_run(thalweg, tmp_path, monkeypatch):
    def broken(*arguments, **options):
        raise ValueError("a bug")

    assert thalweg("run", "scalar", "--out", tmp_path / "run", *FEW)[0] == 0
    before = {entry: entry.read_bytes() for entry in (tmp_path / "run").iterdir()}
    monkeypatch.setattr(runner.descent, "descend", broken)
    with pytest.raises(ValueError, match="a bug"):
        thalweg("run", "scalar", "--out", tmp_path / "run", "--overwrite")
    assert {entry: entry.read_bytes() for entry in (tmp_path / "run").iterdir()} == before


@pytest.mark.usefixtures("little_is_drawn")
def test_a_run_writes_its_figure_in_the_formats_asked_for(thalweg, tmp_path):
    options = ("--format", "pdf,svg", "--width", "3.25", "--title", "mine", "--log-steps")
    assert thalweg("run", "scalar", "--out", tmp_path / "run", *FEW, *options)[0] == 0
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"figure.png", "figure.pdf", "figure.svg"} <= names
    code, _, err = thalweg("run", "scalar", "--out", tmp_path / "no", "--format", "gif")
    assert code == 2
    assert "format is one or several of png, pdf, svg" in err
    assert not (tmp_path / "no").exists()


@pytest.mark.slow
def test_plot_draws_the_figure_again(thalweg, tmp_path):
    thalweg("run", "scalar", "--out", tmp_path / "run", *FEW)
    figure = tmp_path / "run" / "figure.png"
    figure.unlink()
    code, out, _ = thalweg("plot", tmp_path / "run")
    assert code == 0
    assert figure.stat().st_size > 0
    assert str(tmp_path / "run") in out


def test_list_and_help(thalweg, capsys):
    code, listing, _ = thalweg("list")
    assert code == 0
    assert [line.split()[0] for line in listing.splitlines()] == [
        "digits-mlp",
        "network",
        "scalar",
        "scalar-depths",
        "scalar-plane",
        "scalar-sweep",
        "scalar-bifurcation",
        "squared-regression",
    ]
    for arguments in ([], ["--help"], ["run", "--help"]):
        code, out, _ = thalweg(*arguments)
        assert code == 0
        assert "thalweg run EXPERIMENT" in out.replace("`", "")
        assert listing.strip() in out


def test_the_version_is_that_of_the_project(thalweg):
    version = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]["version"]
    assert tw.__version__ == version
    assert thalweg("--version") == (0, f"thalweg {version}\n", "")


def test_help_explains_every_option(capsys):
    with pytest.raises(SystemExit) as exit_:
        cli.main(["run", "digits-mlp", "--help"])
    assert exit_.value.code == 0
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for option, default in (
        ("--step-size", "0.23"),
        ("--steps", "12000"),
        ("--sharpness-every", "50"),
        ("--gfs-every", "500"),
        ("--gfs-start", "0"),
        ("--rtol", "0.0001"),
        ("--samples", "300"),
        ("--widths", "64 64"),
        ("--seed", "0"),
        ("--overwrite", "False"),
    ):
        explanation = text.split(f"{option} ", 1)[1].split(" --", 1)[0]
        assert f"(default: {default})" in explanation, option
        assert len(explanation.split()) > 6, option
    assert "Folder for the results" in text


@pytest.mark.slow
def test_the_command_line_switches_float64_on(tmp_path):
    # In a process of its own, compiled as for users: the tests have switched it on already.
    script = (
        "import sys, jax; from thalweg import cli; assert not jax.config.jax_enable_x64; "
        f"code = cli.main(['run', 'scalar', '--out', {str(tmp_path / 'run')!r}, '--steps', '2']); "
        "assert jax.config.jax_enable_x64; sys.exit(code)"
    )
    environment = os.environ | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "0"}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert results.load(tmp_path / "run").summary["runs"][0]["status"] == "completed"
