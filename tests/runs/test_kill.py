"""A process that is really killed, at random moments, and the real command line that goes on."""

import os
import random
import signal
import subprocess
import sys

import pytest

import deadly
from run_folders import FINISHED, assert_same, numbers

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
