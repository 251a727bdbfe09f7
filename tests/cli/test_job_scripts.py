"""What scripts of schedulers rely on: exit codes, a command that begins or goes on, signals."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from bad_inputs import snapshot, thalweg
from run_folders import assert_same, numbers
from thalweg import cli, results
from thalweg.experiments import Scalar
from thalweg.runs import interruption
from thalweg.runs.interruption import one_interrupt
from thalweg.runs.lock import Lock

pytestmark = pytest.mark.usefixtures("little_is_drawn")

RUN = ["run", "scalar", "--steps", 40, "--gfs-every", 4, "--sharpness-every", 8]


def test_a_budget_has_its_exit_code_and_the_same_command_ends_the_run(tmp_path):
    command = [*RUN, "--resume", "--max-evaluations", 25, "--out"]
    codes = [thalweg(*command, tmp_path / "run")[0]]
    assert codes == [cli.OUT_OF_BUDGET] == [75]
    assert results.load(tmp_path / "run").summary["runs"][0]["status"] == "stopped"
    code, out, err = thalweg(*RUN, "--resume", "--out", tmp_path / "run")
    assert code == 0
    assert thalweg(*RUN, "--out", tmp_path / "whole")[0] == 0
    assert_same(numbers(tmp_path / "whole"), numbers(tmp_path / "run"))
    code, out, err = thalweg(*RUN, "--resume", "--out", tmp_path / "run")
    assert (code, err) == (0, "")
    assert "there is nothing to continue" in out


def test_values_where_phi_changes_most_are_spent_over_sessions(tmp_path):
    command = ["run", "scalar", "--steps", 40, "--gfs-points", 11, "--step-size", 0.05, 0.2]
    assert thalweg(*command, "--out", tmp_path / "whole")[0] == 0
    data = results.load(tmp_path / "whole").dataset
    assert np.isfinite(data["gfs_sharpness"].values).sum(axis=1).tolist() == [11, 11]
    assert np.isfinite(data["gfs_sharpness"].sel(gfs_step=[0, 1, 3, 11, 40])).all()
    most = results.load(tmp_path / "whole").summary["gradient_evaluations"]
    run, codes = tmp_path / "run", []
    for share in (0.3, 0.5, 0.6, 0.9, 1):
        budget = ["--max-evaluations", share * most]
        codes.append(thalweg(*command, "--resume", *budget, "--out", run)[0])
    assert codes == [75, 75, 75, 75, 0]
    assert_same(numbers(tmp_path / "whole"), numbers(run))


def test_seconds_are_those_of_setting_up_too(tmp_path, monkeypatch):
    build = Scalar.build

    def slowly(self):
        time.sleep(0.7)
        return build(self)

    monkeypatch.setattr(Scalar, "build", slowly)
    assert thalweg("run", "scalar", "--steps", 2, "--out", tmp_path / "run")[0] == 0
    assert results.load(tmp_path / "run").summary["seconds"] > 0.7


def test_resume_names_the_budget_code_too(tmp_path):
    assert thalweg(*RUN, "--max-evaluations", 10, "--out", tmp_path / "run")[0] == 75
    assert thalweg("resume", tmp_path / "run", "--max-evaluations", 11)[0] == 75
    assert thalweg("resume", tmp_path / "run")[0] == 0
    assert "75 stopped by a budget" in thalweg("--help")[1]


def test_a_run_of_other_options_is_left_alone(tmp_path):
    assert thalweg(*RUN, "--out", tmp_path / "run")[0] == 0
    before = snapshot(tmp_path)
    code, _, err = thalweg(*RUN, "--target", 2, "--resume", "--out", tmp_path / "run")
    assert code == cli.BAD_INPUT
    assert "holds a run with another target, 1.0 in place of 2.0" in err
    code, _, err = thalweg("run", "digits-mlp", "--resume", "--out", tmp_path / "run")
    assert code == cli.BAD_INPUT
    assert "holds a run with another " in err
    code, _, err = thalweg(*RUN, "--resume", "--overwrite", "--out", tmp_path / "run")
    assert (code, "contradict" in err) == (cli.BAD_INPUT, True)
    assert snapshot(tmp_path) == before


def test_step_sizes_that_were_chosen_are_those_that_were_asked_for(tmp_path):
    command = [*RUN, "--relative-step-size", 0.5, "--resume", "--out", tmp_path / "run"]
    assert thalweg(*command, "--max-evaluations", 25)[0] == 75
    assert thalweg(*command)[0] == 0
    stored = results.load(tmp_path / "run")
    assert stored.config["relative_step_size"] == []
    assert stored.summary["runs"][0]["steps"] == 40


def test_a_run_on_an_unfinished_one_names_both_ways_to_go_on(tmp_path):
    assert thalweg(*RUN, "--max-evaluations", 10, "--out", tmp_path / "run")[0] == 75
    code, _, err = thalweg(*RUN, "--out", tmp_path / "run")
    assert code == cli.BAD_INPUT
    assert f"`thalweg resume {tmp_path / 'run'}` continues it" in err
    assert "--resume" in err


def test_a_folder_in_use_says_so_everywhere(tmp_path):
    folder = tmp_path / "scalar"
    assert thalweg(*RUN, "--max-evaluations", 10, "--out", folder)[0] == 75
    held = Lock.take(folder)
    who = f"process {os.getpid()} on "
    for command in (
        [*RUN, "--out", folder],
        [*RUN, "--out", folder, "--overwrite"],
        [*RUN, "--out", folder, "--resume"],
        ["resume", folder],
        ["reproduce", "--quick", "--out", tmp_path],
        ["reproduce", "--quick", "--overwrite", "--out", tmp_path],
    ):
        before = snapshot(tmp_path)
        code, _, err = thalweg(*command)
        assert code == cli.BAD_INPUT, command
        assert who in err, (command, err)
        assert snapshot(tmp_path) == before
    held.release()
    new = tmp_path / "new"
    new.mkdir()
    held = Lock.take(new)  # a moment before there is a configuration
    code, _, err = thalweg(*RUN, "--out", new)
    assert (code, who in err) == (cli.BAD_INPUT, True)
    held.release()


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        (["--step-size", "0.1,0.2"], "--step-size 0.1 0.2"),
        (["--step-size=0.1,0.2,"], "--step-size 0.1 0.2"),
        (["--init", "1,2,3,4"], "--init 1 2 3 4"),
        (["--gfs-also", "3,5"], "--gfs-also 3 5"),
        (["--steps", "1,000"], "--steps 1 000"),
    ],
)
def test_commas_get_a_hint(given, hint, tmp_path):
    code, _, err = thalweg("run", "scalar", "--format", "pdf,svg", "--out", tmp_path / "x", *given)
    assert code == cli.BAD_INPUT
    assert f"lists are separated by spaces, as in `{hint}`, and decimals have a point" in err
    assert err.count("\n") == 1


def test_two_interrupts_within_a_second_are_one(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(interruption.time, "monotonic", lambda: now[0])
    before = signal.getsignal(signal.SIGINT)
    with one_interrupt():
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        now[0] = 0.9
        signal.raise_signal(signal.SIGINT)
        now[0] = 1.1
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_who_ignores_interrupts_goes_on_to_ignore_them():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with one_interrupt():
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


ASKED = [
    ({"XLA_FLAGS": "--no_such_flag=3"}, "XLA_FLAGS=--no_such_flag=3 (Unknown flag"),
    ({"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=maybe"}, "mend or unset it"),
    ({"JAX_NUM_CPU_DEVICES": "0"}, "JAX finds no device with JAX_NUM_CPU_DEVICES=0 ("),
    ({"JAX_NUM_CPU_DEVICES": "many"}, 'JAX cannot be started: Invalid value "many"'),
    ({"JAX_PLATFORM_NAME": "gpu"}, "JAX finds no device with JAX_PLATFORM_NAME=gpu ("),
]


@pytest.mark.slow
@pytest.mark.parametrize(("setting", "message"), ASKED)
def test_what_jax_cannot_meet_is_one_line(setting, message, tmp_path):
    words = [sys.executable, "-m", "thalweg.cli", *map(str, RUN), "--out", str(tmp_path / "run")]
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    done = subprocess.run(words, env=environment | setting, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (cli.BAD_INPUT, ""), done
    assert message in done.stderr
    told = [line for line in done.stderr.splitlines() if "error" in line]
    assert len(told) == 1
    assert told[0].startswith("thalweg: error: ")
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
