"""A disk that refuses: every operation on files fails once, and a disk becomes full half-way."""

import errno
import io
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from bad_inputs import thalweg
from marks import survival
from run_folders import assert_same, numbers
from thalweg import cli, results
from thalweg.runs import saving
from thalweg.runs.atomic_write import TEMPORARY

SMALL = {
    "scalar": ["--steps", 3, "--sharpness-every", 3, "--gfs-every", 3],
    "squared-regression": [
        *("--samples", 3, "--dimension", 3, "--step-size", 0.1),
        *("--steps", 2, "--sharpness-every", 2, "--gfs-every", 2),
    ],
    "scalar-plane": ["--steps", 3],
}
pytestmark = pytest.mark.usefixtures("little_is_drawn")

KINDS = [errno.ENOSPC, errno.EIO, errno.EACCES]
WHOLE = {"config.json", "result.nc", "summary.json", "figure.png"}


class Disk:
    """Counts operations on files below a folder; one of them fails, or every one from then on."""

    def __init__(self, folder, number, failing_at=None, lasting=False):
        self.folder, self.number = str(folder), number
        self.failing_at, self.lasting = failing_at, lasting
        self.done, self.failed = 0, []

    def step(self, operation, *paths):
        gone = operation == "unlink" and not os.path.lexists(paths[0])
        if gone or not any(str(path).startswith(self.folder) for path in paths):
            return
        self.done += 1
        if self.failing_at is not None and (
            self.done > self.failing_at if self.lasting else self.done == self.failing_at + 1
        ):
            self.failed.append((operation, str(paths[-1])))
            raise OSError(self.number, os.strerror(self.number), str(paths[-1]))

    def patched(self, patch):
        really = {name: getattr(os, name) for name in ("replace", "unlink", "mkdir", "fsync")}
        really_open = io.open

        def watched(name):
            def operation(*args, **kwargs):
                paths = args[:2] if name == "replace" else args[:1]
                if name == "fsync":
                    paths = (os.readlink(f"/proc/self/fd/{args[0]}"),)
                self.step(name, *paths)
                return really[name](*args, **kwargs)

            return operation

        def watched_open(file, mode="r", *args, **kwargs):
            if not isinstance(file, int):
                self.step("open", file)
            opened = really_open(file, mode, *args, **kwargs)
            if set(mode) & set("wxa+") and str(file).startswith(self.folder):
                write = opened.write

                def watched_write(content):
                    try:
                        self.step("write", file)
                    except OSError:
                        write(content[: len(content) // 2])
                        raise
                    return write(content)

                if not isinstance(opened, io.TextIOWrapper):
                    return _Writing(opened, watched_write)
            return opened

        for name in really:
            patch.setattr(os, name, watched(name))
        patch.setattr(io, "open", watched_open)


class _Writing:
    """A file whose `write` is another one."""

    def __init__(self, file, write):
        self._file, self.write = file, write

    def __getattr__(self, name):
        return getattr(self._file, name)

    def __enter__(self):
        self._file.__enter__()
        return self

    def __exit__(self, *error):
        return self._file.__exit__(*error)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return the command of a run that becomes long enough to be cut off, and its numbers."""
    command = ["run", "scalar", *map(str, SMALL["scalar"]), "--steps", "12", "--out"]
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert thalweg(*command, folder)[0] == 0
    return command, numbers(folder)


@pytest.fixture
def save_three_times(monkeypatch):
    """At the start, with a checkpoint before, and with two: further saves repeat the third."""
    consider, considered = saving.Saver.consider, []

    def consider_seldom(saver, progress, *, stopping):
        considered.append(saver)
        if stopping or considered.count(saver) in (1, 2, 5):
            consider(saver, progress, stopping=stopping)

    monkeypatch.setattr(saving.Saver, "consider", consider_seldom)


@pytest.fixture(autouse=True)
def save_often(monkeypatch):
    monkeypatch.setattr(saving, "INTERVAL", 0.0)
    monkeypatch.setattr(saving, "SHARE_OF_CHECKPOINTS", np.inf)
    monkeypatch.setattr(saving, "SHARE_OF_RESULTS", np.inf)


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS])
def test_a_file_system_that_cannot_synchronise(number, tmp_path, monkeypatch):
    def fsync(descriptor):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fsync)
    code, _, err = thalweg("run", "scalar", *SMALL["scalar"], "--out", tmp_path / "run")
    assert (code, "warning" in err) == (0, False), err
    assert {entry.name for entry in (tmp_path / "run").iterdir()} == WHOLE


def contents(folder):
    return {entry.name: entry.read_bytes() for entry in folder.iterdir()}


def assert_told(code, err):
    """Assert that stderr is one line of error, or warnings and progress where the run went on."""
    lines = err.splitlines()
    assert all(line.startswith("thalweg: ") for line in lines), err
    errors = [line for line in lines if line.startswith("thalweg: error: ")]
    assert len(errors) == (code != 0), err


@pytest.mark.parametrize(
    ("experiment", "number"),
    survival(
        *(("scalar", number) for number in KINDS),
        *(("squared-regression", errno.ENOSPC), ("scalar-plane", errno.EIO)),
    ),
)
def test_every_operation_may_fail(experiment, number, tmp_path, monkeypatch, save_three_times):
    """The state before stays: an old run whole, or a run that is resumed to the same bits."""
    new = ["run", experiment, *SMALL[experiment], "--overwrite", "--out"]
    assert thalweg(*new, tmp_path / "whole")[0] == 0
    whole = numbers(tmp_path / "whole")
    old = ["run", "scalar", "--steps", 2, "--gfs-every", 2, "--out"]
    assert thalweg(*old, tmp_path / "old")[0] == 0
    before = contents(tmp_path / "old")
    count = Disk(tmp_path / "counted", number)
    with monkeypatch.context() as patch:
        count.patched(patch)
        assert thalweg(*new, tmp_path / "counted")[0] == 0
    assert count.done > 20
    # The three kinds of failure share the operations of the scalar experiment among them.
    stride, first = (3, KINDS.index(number)) if experiment == "scalar" else (7, 3)
    tried = range(first, count.done, stride)
    for failing_at in tried:
        folder = tmp_path / f"run{failing_at}"
        folder.mkdir()
        for name, content in before.items():
            (folder / name).write_bytes(content)
        disk = Disk(folder, number, failing_at)
        with monkeypatch.context() as patch:
            disk.patched(patch)
            code, _, err = thalweg(*new, folder)
        left = {entry.name for entry in folder.iterdir()}
        removal_failed = any(operation == "unlink" for operation, _ in disk.failed)
        assert not any(name.startswith(TEMPORARY) for name in left) or removal_failed
        assert_told(code, err)
        assert code in (0, cli.NOT_DONE, cli.BAD_INPUT), (disk.failed, err)
        if not disk.failed:
            assert code == 0
        if contents(folder) == before:
            assert code != 0
            continue
        if code == 0:
            assert_same(whole, numbers(folder))
            assert left - WHOLE <= {"checkpoint.npz", "checkpoint-before.npz"}
            continue
        stored = json.loads((folder / "config.json").read_text())
        assert thalweg("resume", folder)[0] == 0, disk.failed
        if stored["experiment"] == experiment and stored["steps"] == whole[1]["steps"]:
            assert_same(whole, numbers(folder))
        else:  # what was removed of the old run has been computed again
            assert_same(numbers(tmp_path / "old"), numbers(folder))
        assert {entry.name for entry in folder.iterdir()} == WHOLE, disk.failed


FULL = """
import resource, signal, sys
import matplotlib.font_manager
from thalweg import cli, experiments
from thalweg.runs import runner, saving
saving.INTERVAL, saving.SHARE_OF_CHECKPOINTS, saving.SHARE_OF_RESULTS = 0.0, 1e9, 1e9
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
consider = saving.Saver.consider

def fill(saver, progress, *, stopping):
    if progress.step >= {at}:
        resource.setrlimit(resource.RLIMIT_FSIZE, ({room}, {room}))
    consider(saver, progress, stopping=stopping)

saving.Saver.consider = fill
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.mark.survival
@pytest.mark.parametrize(("at", "room"), [(0, 0), (0, 3000), (6, 1), (6, 20_000)])
def test_a_disk_that_becomes_full(at, room, tmp_path, whole):
    """Files cannot grow beyond a size from some step on: what was saved before stays."""
    command, expected = whole
    folder = tmp_path / "run"
    done = subprocess.run(
        [sys.executable, "-c", FULL.format(at=at, room=room), *command, str(folder)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == cli.NOT_DONE, done
    assert_told(done.returncode, done.stderr)
    assert "File too large" in done.stderr
    assert not any(entry.name.startswith(TEMPORARY) for entry in folder.iterdir())
    assert (folder / "checkpoint.npz").exists() == (at > 0)
    code, _, err = thalweg("resume", folder)
    assert code == 0, err
    assert_same(expected, numbers(folder))


@pytest.mark.survival
@pytest.mark.parametrize("signals", [1, 2])
def test_ctrl_c_during_a_write(signals, tmp_path, whole):
    """The first one saves and stops; a second one ends the process within the write."""
    command, expected = whole
    script = """
import os, signal, sys
from pathlib import Path
from thalweg import cli
from thalweg.runs import interruption, saving
saving.INTERVAL, saving.SHARE_OF_CHECKPOINTS, saving.SHARE_OF_RESULTS = 0.0, 1e9, 1e9
interruption.TOGETHER = 0.0
write, number = Path.write_bytes, 0

def shot(path, content):
    global number
    number += 1
    if number == 6:
        write(path, bytes(content)[: len(content) // 2])
        for _ in range({signals}):
            os.kill(os.getpid(), signal.SIGINT)
    return write(path, content)

Path.write_bytes = shot
sys.exit(cli.main(sys.argv[1:]))
"""
    folder = tmp_path / "run"
    done = subprocess.run(
        [sys.executable, "-c", script.format(signals=signals), *command, str(folder)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == (130 if signals == 1 else -signal.SIGINT), done
    assert "Traceback" not in done.stderr
    assert "stopping; what there is will be saved" in done.stderr
    assert (folder / "checkpoint.npz").exists()
    assert results.load(folder).summary is None or signals == 1
    assert thalweg("resume", folder)[0] == 0
    assert_same(expected, numbers(folder))
    assert {entry.name for entry in folder.iterdir()} == WHOLE
