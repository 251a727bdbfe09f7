"""Runs that are cut off anywhere go on as if nothing had happened, bit for bit."""

import ast
import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import jax
import numpy as np
import pytest

import thalweg as tw
from marks import survival
from run_folders import FINISHED, assert_same, numbers
from thalweg import cli, experiments, results
from thalweg.cli import commands
from thalweg.descent.checkpoint_file import read_value, write_value
from thalweg.display import Display
from thalweg.experiments import DigitsMLP, Scalar, SquaredRegressionExperiment
from thalweg.flow import Stabilized
from thalweg.flow.method import Request
from thalweg.flow.work_budget import OutOfBudget, WorkBudget
from thalweg.runs import runner, saving
from thalweg.runs.budget import Budget
from thalweg.runs.interruption import SIGNALS
from thalweg.runs.lock import LOCK, Lock

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
        samples=8, widths=(4,), steps=20, sharpness_every=10, gfs_every=10, gfs_start=10, rtol=1e-2
    ),
}


pytestmark = pytest.mark.usefixtures("little_is_drawn")


class KilledError(BaseException):
    """In place of a signal that cannot be caught."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return a command, and the numbers of its run that nothing interrupts."""
    command = ["run", "scalar", "--steps", "16", "--out"]
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert cli.main([*command, str(folder)]) == 0
    return command, numbers(folder)


@pytest.fixture(autouse=True)
def save_at_every_report(monkeypatch):
    monkeypatch.setattr(saving, "INTERVAL", 0.0)
    monkeypatch.setattr(saving, "SHARE_OF_CHECKPOINTS", np.inf)


@pytest.mark.parametrize("name", ["scalar", *survival("squared-regression", "digits-mlp")])
def test_a_run_killed_again_and_again_ends_with_the_same_bits(name, tmp_path):
    experiments.run(SHORT[name], tmp_path / "whole")
    folder, reports, kills = tmp_path / "run", 0, 0

    def deadly(progress):
        nonlocal reports
        reports += 1
        if reports % 5 == 0 and kills < 10:
            raise KilledError

    prepared = runner.prepare(SHORT[name], folder)
    while True:
        try:
            prepared.run(deadly)
            break
        except KilledError:
            kills += 1
            prepared = runner.prepare_to_resume(folder, experiments.EXPERIMENTS)
    assert kills > 2
    assert_same(numbers(tmp_path / "whole"), numbers(folder))
    assert {entry.name for entry in folder.iterdir()} == FINISHED


@pytest.mark.survival
def test_a_flow_goes_on_within_its_steps_also_from_a_file(tmp_path):
    problem, w = SHORT["digits-mlp"].build()
    path, standings = tmp_path / "standing.npz", []

    def solve(report, standing=None):
        return tw.gradient_flow_solution(
            problem, w, rtol=1e-2, method=Stabilized(), report=report, standing=standing
        )

    def stop_after_the_first_steps(progress):
        standing = progress.standing()
        if all(one.state is not None for one in standing) and len(standing) > 1:
            standings.append(standing)
        return bool(standings)

    whole, stopped = solve(None), solve(stop_after_the_first_steps)
    assert stopped.status is tw.Status.STOPPED
    write_value(path, standings[0], like=w)
    resumed = solve(None, read_value(path, like=w))
    for name in ("sharpness", "sharpness_error", "loss", "status", "gradient_evaluations"):
        assert getattr(whole, name) == getattr(resumed, name), name
    for one, other in zip(jax.tree.leaves(whole.w), jax.tree.leaves(resumed.w), strict=True):
        np.testing.assert_array_equal(one, other)
    # The steps before the interruption are not taken again.
    before = standings[0][0].state
    assert before.steps.shape[0] > 0
    np.testing.assert_array_equal(
        resumed.step_records.fine.lengths[: before.steps.shape[0]], before.steps[:, 0]
    )


def test_a_budget_ends_the_task_that_exceeds_it():
    """What the first task leaves, the second may use."""
    budget = WorkBudget(Request(1e-4, 100.0), 1.0)
    works = [budget.add_task(), budget.add_task()]

    def task(counted, work, steps):
        for _ in range(steps):
            counted.spend(work)

    task(works[0], 3.0, 20)
    with pytest.raises(OutOfBudget):
        task(works[1], 4.0, 1000)
    assert [one.spent for one in works] == [60.0, 40.0]
    assert budget.spent == 100.0


def test_a_second_process_is_told_who_uses_the_folder(tmp_path, capsys):
    tmp_path.joinpath("run").mkdir()
    lock = Lock.take(tmp_path / "run")
    assert cli.main(["run", "scalar", "--out", str(tmp_path / "run"), "--steps", "2"]) == 2
    error = capsys.readouterr().err
    assert f"in use by process {os.getpid()} on {socket.gethostname()}" in error
    assert error.count("\n") == 1
    lock.release()
    lock.release()
    assert list((tmp_path / "run").iterdir()) == []
    # What a killed process leaves behind is no lock.
    (tmp_path / "run" / LOCK).write_text('{"pid": 1, "host": "elsewhere"}')
    assert cli.main(["run", "scalar", "--out", str(tmp_path / "run"), "--steps", "2"]) == 0
    assert not (tmp_path / "run" / LOCK).exists()


@pytest.mark.survival
def test_a_run_in_the_way_is_told_with_what_to_do_about_it(tmp_path, capsys):
    again = ["run", "scalar", "--out", str(tmp_path), "--steps", "2"]
    stopped_run(tmp_path)
    assert cli.main(again) == 2
    error = capsys.readouterr().err
    assert f"not finished: `thalweg resume {tmp_path}` continues it" in error
    assert "--overwrite" not in error  # which would cost what there is
    lock = Lock.take(tmp_path)
    me = f"process {os.getpid()} on {socket.gethostname()}"
    assert cli.main(again) == 2
    assert f"holds a run that {me} works at; choose another --out" in capsys.readouterr().err
    assert cli.main([*again, "--overwrite"]) == 2
    assert f"is in use by {me}: wait" in capsys.readouterr().err
    lock.release()
    assert cli.main(["resume", str(tmp_path)]) == 0
    capsys.readouterr()
    assert cli.main(again) == 2
    assert "already holds a run; pass --overwrite" in capsys.readouterr().err


@pytest.mark.survival
def test_a_process_killed_while_jax_is_loaded_can_be_resumed(tmp_path, monkeypatch):
    def killed(*_):
        raise KilledError

    experiments.run(SHORT["scalar"], tmp_path / "whole")
    command = ["run", "scalar", "--step-size", "0.25", "0.1", "--steps", "16"]
    command += ["--sharpness-every", "3", "--gfs-every", "5", "--out", str(tmp_path / "run")]
    with monkeypatch.context() as patch:
        patch.setattr(commands, "_start_jax", killed)
        with pytest.raises(KilledError):
            cli.main(command)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["config.json"]
    assert cli.main(["resume", str(tmp_path / "run")]) == 0
    assert_same(numbers(tmp_path / "whole"), numbers(tmp_path / "run"))


@pytest.mark.survival
def test_an_old_run_is_left_whole_until_the_new_one_begins(tmp_path, monkeypatch):
    def killed(*_):
        raise KilledError

    experiments.run(SHORT["scalar"], tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    monkeypatch.setattr(commands, "_start_jax", killed)
    with pytest.raises(KilledError):
        cli.main(["run", "scalar", "--out", str(tmp_path), "--steps", "2", "--overwrite"])
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_nothing_that_takes_long_is_imported_before_the_configuration_is_written(tmp_path):
    script = """
import os, sys
from thalweg import cli
from thalweg.cli import commands
def look(*_):
    slow = {"jax", "xarray", "numpy"} & set(sys.modules)
    os.write(1, repr((os.listdir(sys.argv[-1]), [*slow])).encode())
    os._exit(0)
commands._start_jax = look
cli.main(sys.argv[1:])
"""
    command = ["run", "digits-mlp", "--out", str(tmp_path / "run")]
    done = subprocess.run([sys.executable, "-c", script, *command], capture_output=True, text=True)
    there, slow = ast.literal_eval(done.stdout)
    assert (set(there), slow) == ({LOCK, "config.json"}, [])


def stopped_run(folder, config=SHORT["scalar"], at=5):
    experiments.run(config, folder, report=lambda progress: progress.step >= at)
    assert (folder / "checkpoint.npz").exists()


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, *survival(signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)]
)
def test_a_signal_saves_and_stops_and_names_the_command(
    number, whole, tmp_path, capsys, monkeypatch
):
    class Shot(Display):
        def __call__(self, progress):
            if progress.step == 6:
                for _ in range(2):  # as `timeout` does: to the process, and to its group
                    os.kill(os.getpid(), number)
                    time.sleep(0.01)

    before = [signal.getsignal(one) for one in SIGNALS]
    command, expected = whole
    with monkeypatch.context() as patch:
        patch.setattr("thalweg.display.watched.Display", Shot)
        assert cli.main([*command, str(tmp_path / "run")]) == 128 + number
    assert [signal.getsignal(one) for one in SIGNALS] == before  # put back
    assert f"`thalweg resume {tmp_path / 'run'}` continues" in capsys.readouterr().err
    assert results.load(tmp_path / "run").summary["runs"][0]["status"] == "stopped"
    assert cli.main(["plot", str(tmp_path / "run")]) == 0
    assert cli.main(["resume", str(tmp_path / "run")]) == 0
    assert_same(expected, numbers(tmp_path / "run"))
    assert cli.main(["resume", str(tmp_path / "run")]) == 0
    assert "nothing to continue" in capsys.readouterr().out


@pytest.mark.survival
def test_budgets_end_a_run_that_can_go_on(whole, tmp_path, capsys):
    command, expected = whole
    assert (
        cli.main([*command, str(tmp_path / "run"), "--max-evaluations", "40"]) == cli.OUT_OF_BUDGET
    )
    assert results.load(tmp_path / "run").summary["runs"][0]["status"] == "stopped"
    assert "continues" in capsys.readouterr().err
    assert cli.main(["resume", str(tmp_path / "run"), "--max-time", "1e-9"]) == cli.OUT_OF_BUDGET
    assert results.load(tmp_path / "run").summary["runs"][0]["status"] == "stopped"
    assert cli.main(["resume", str(tmp_path / "run")]) == 0
    assert_same(expected, numbers(tmp_path / "run"))


@pytest.mark.survival
def test_a_budget_of_time_leaves_some_of_it_for_the_results(tmp_path, monkeypatch):
    now = 100.0

    def tell(progress):
        nonlocal now
        now = 100.0 + progress.step

    clock = SimpleNamespace(monotonic=lambda: now)
    monkeypatch.setattr(runner, "time", clock)
    config = Scalar(step_size=(0.25,), steps=30, sharpness_every=1, gfs_every=1)
    summary = experiments.run(config, tmp_path, report=tell, budget=Budget(max_time=20))
    assert (summary["runs"][0]["status"], summary["runs"][0]["steps"]) == ("stopped", 19)


@pytest.mark.survival
@pytest.mark.parametrize("command", ["the command", "the function"])
def test_what_a_kill_at_the_very_end_leaves_is_removed(command, tmp_path, capsys, monkeypatch):
    def killed(folder):
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(results.RunFolder, "remove_checkpoint", killed)
        with pytest.raises(KilledError):
            experiments.run(SHORT["scalar"], tmp_path)
    (tmp_path / LOCK).write_text('{"pid": 1, "host": "elsewhere"}')
    (tmp_path / ".thalweg-temporary-0-figure.png").write_bytes(b"")
    finished = {path: path.read_bytes() for path in map(tmp_path.joinpath, FINISHED)}
    assert len(list(tmp_path.iterdir())) > len(FINISHED)
    if command == "the command":
        assert cli.main(["resume", str(tmp_path)]) == 0
        assert "nothing to continue" in capsys.readouterr().out
    else:
        experiments.resume(tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == finished


@pytest.mark.slow
def test_the_remains_of_a_finished_run_stay_while_somebody_is_in_its_folder(tmp_path):
    experiments.run(SHORT["scalar"], tmp_path)
    (tmp_path / "checkpoint.npz").write_bytes(b"")
    lock = Lock.take(tmp_path)
    experiments.resume(tmp_path)
    assert (tmp_path / "checkpoint.npz").exists()
    lock.release()
    experiments.resume(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == FINISHED


@pytest.mark.slow
def test_other_conditions_are_named_and_need_force(tmp_path, capsys, monkeypatch):
    stopped_run(tmp_path / "run")
    before = {entry: entry.read_bytes() for entry in (tmp_path / "run").iterdir()}
    monkeypatch.setattr(saving, "versions", lambda: {"jax": "99.0"})
    assert cli.main(["resume", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert "and is 99.0" in error
    assert "--force" in error
    assert {entry: entry.read_bytes() for entry in (tmp_path / "run").iterdir()} == before
    assert cli.main(["resume", str(tmp_path / "run"), "--force"]) == 0


def test_another_configuration_is_named_and_one_that_does_not_fit_refused(tmp_path, capsys):
    stopped_run(tmp_path / "run")
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    (tmp_path / "run" / "config.json").write_text(json.dumps(config | {"steps": 77}))
    assert cli.main(["resume", str(tmp_path / "run")]) == 2
    assert "steps was 16 and is 77" in capsys.readouterr().err
    assert cli.main(["resume", str(tmp_path / "run"), "--force"]) == 2
    assert "that of another descent" in capsys.readouterr().err
    assert (tmp_path / "run" / "checkpoint.npz").exists()


@pytest.mark.slow
def test_a_damaged_checkpoint_falls_back_on_the_one_before(tmp_path, capsys):
    experiments.run(SHORT["scalar"], tmp_path / "whole")
    stopped_run(tmp_path / "run")
    checkpoint, before = (tmp_path / "run" / f"checkpoint{end}.npz" for end in ("", "-before"))
    content = checkpoint.read_bytes()
    checkpoint.write_bytes(content[: len(content) // 2])
    assert before.exists()
    assert cli.main(["resume", str(tmp_path / "run")]) == 0
    assert_same(numbers(tmp_path / "whole"), numbers(tmp_path / "run"))
    stopped_run(tmp_path / "both")
    for path in (tmp_path / "both").glob("checkpoint*"):
        path.write_bytes(b"PK")
    kept = {entry: entry.read_bytes() for entry in (tmp_path / "both").iterdir()}
    capsys.readouterr()
    assert cli.main(["resume", str(tmp_path / "both")]) == 2
    error = capsys.readouterr().err
    assert "is damaged: begin anew with `thalweg run scalar" in error
    assert {entry: entry.read_bytes() for entry in (tmp_path / "both").iterdir()} == kept


def test_a_short_run_writes_little_on_its_way(tmp_path, monkeypatch):
    """The first checkpoint and the first results come in their time, not at once."""
    now, seen = 0.0, {}

    def observe(progress):
        nonlocal now
        now = 40.0 if progress.step >= 12 else 2.0 if progress.step >= 9 else 0.0
        seen[progress.step] = {path.name for path in tmp_path.iterdir()} - {LOCK}

    monkeypatch.setattr(saving, "time", SimpleNamespace(monotonic=lambda: now))
    monkeypatch.setattr(saving, "INTERVAL", 30.0)
    monkeypatch.setattr(saving, "SHARE_OF_CHECKPOINTS", 0.005)
    experiments.run(replace(SHORT["scalar"], step_size=(0.25,)), tmp_path, report=observe)
    assert seen[9] == {"config.json"}
    assert "checkpoint.npz" in seen[12]
    assert "result.nc" not in seen[12]
    assert "result.nc" in seen[16]


@pytest.mark.survival
def test_paths_may_be_strings(tmp_path):
    folder, file = str(tmp_path / "run"), str(tmp_path / "checkpoint.npz")
    kept = []

    def stop(progress):
        kept.append(progress.checkpoint())
        return progress.step >= 5

    experiments.run(SHORT["scalar"], folder, report=stop)
    start = SHORT["scalar"].build()[1]
    tw.descent.write_checkpoint(file, kept[-1], start)
    assert tw.descent.read_checkpoint(file, start)[0].step == kept[-1].step
    assert experiments.resume(folder)["runs"][0]["steps"] == 16
    assert tw.results.save_run_figure(folder) == tmp_path / "run" / "figure.png"
    assert runner.has_finished(folder)
    runner.tidy(folder)
