"""A process that is really killed, at random moments, and the real command line that goes on."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import deadly
from run_folders import FINISHED, assert_same, numbers
from thalweg import results
from thalweg.cli import main

OPTIONS = [
    *("--samples", "8", "--widths", "4", "--steps", "10", "--rtol", "1e-2"),
    *("--sharpness-every", "5", "--gfs-every", "5", "--gfs-start", "5"),
]


pytestmark = pytest.mark.survival


def moments(chance):
    """Return random moments, each of which comes however quick the process is.

    The second is within the first flow, so that the third, after that flow, comes before the other.
    """
    return [
        ("checkpoint.npz", chance.randint(6, 15)),
        ("flow", 1),
        ("measured", chance.randint(1, 2)),
        ("result.nc", chance.randint(1, 5)),
        ("summary.json", chance.randint(1, 5)),
    ]


def test_a_process_killed_at_random_moments_ends_with_the_same_bits(tmp_path):
    # A cache of its own: a kill may leave half an entry, of which JAX warns whoever reads it.
    environment = os.environ | {
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "cache"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    }

    def start(when, number, *arguments):
        command = [sys.executable, deadly.__file__, when, str(number), *arguments]
        output = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, env=environment, **output)

    whole, folder = tmp_path / "whole", tmp_path / "run"
    command = ["run", "digits-mlp", *OPTIONS, "--out"]
    uninterrupted = start("never", 0, *command, str(whole))
    command, notes = [*command, str(folder)], []
    for when, number in moments(random.Random(2)):
        victim = start(when, number, *command)
        notes.append(victim.communicate()[1])
        assert victim.returncode == -signal.SIGKILL, notes
        assert deadly.KILLED in notes[-1]
        command = ["resume", str(folder)]
    # All but the first were restored, so killed after the first checkpoint.
    assert [deadly.FROM in note for note in notes] == [False, True, True, True, True], notes
    last = start("never", 0, *command)
    note = last.communicate()[1]
    assert last.returncode == 0, note
    note = uninterrupted.communicate()[1]
    assert uninterrupted.returncode == 0, note
    assert_same(numbers(whole), numbers(folder))
    assert {path.name for path in folder.iterdir()} == FINISHED


ALONG = """
import os, signal, sys
import jax
import thalweg as tw
from thalweg.flow import work_budget
from thalweg.runs import saving

jax.config.update("jax_enable_x64", True)
from cases import smooth_network

folder, step, moments = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
saving.INTERVAL, work_budget.REPORT_INTERVAL = 0.0, 0.0
saving.SHARE_OF_CHECKPOINTS = saving.SHARE_OF_RESULTS = float("inf")
consider = saving.Saver.consider


def deadly(saver, progress, *, stopping):
    global moments
    consider(saver, progress, stopping=stopping)
    moments -= progress.step == step
    if moments == 0:
        within = "" if progress.flow is None else ", within a flow"
        print(f"killed at step {progress.step}{within}", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)


saving.Saver.consider = deadly
problem, start = smooth_network()
iterates = ((step, jax.tree.map(lambda leaf: leaf * 0.99**step, start)) for step in range(6))
measurements = [tw.Sharpness(every=2), tw.GFSSharpness(every=2, rtol=1e-2)]
run = tw.measure_along(problem, iterates, measurements, 0.05, folder=folder)
print("went on" if run.status == ["completed"] else run.message)
"""


def test_a_program_that_measures_along_its_own_run_is_killed_and_goes_on(tmp_path, capsys):
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}

    def start(folder, step, moments):
        command = [sys.executable, "-c", ALONG, str(folder), str(step), str(moments)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr

    whole, folder = tmp_path / "whole", tmp_path / "run"
    assert start(whole, -1, 1)[0] == 0
    said = []
    for step, moments in ((0, 3), (2, 4), (3, 1)):
        code, output = start(folder, step, moments)
        assert code == -signal.SIGKILL, output
        said.append(output)
        assert 0 < np.isfinite(results.load(folder).dataset["loss"]).sum() <= 6
        assert main(["plot", str(folder)]) == 0
        assert [row["status"] for row in results.table([folder])] == ["unfinished"]
        assert main(["resume", str(folder)]) == 2
        assert "start that program again, with the same folder" in capsys.readouterr().err
    assert [output.split()[3].rstrip(",") for output in said] == ["0", "2", "3"]
    assert "within a flow" in said[1]
    code, output = start(folder, -1, 1)
    assert (code, output) == (0, "went on\n")
    assert_same(numbers(whole), numbers(folder))
    assert {path.name for path in folder.iterdir()} == FINISHED
    assert main(["resume", str(folder)]) == 0
    assert "nothing to continue" in capsys.readouterr().out
