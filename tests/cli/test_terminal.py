"""Streams that fail or are not there: the run goes on without a display, without a traceback."""

import errno
import io
import os
import subprocess
import sys

import pytest

from marks import slow
from thalweg import cli, results
from thalweg.display import Lenient

FEW = ["--steps", "12", "--sharpness-every", "6", "--gfs-every", "6"]


class Failing(io.StringIO):
    """Takes a few writes, and fails from then on."""

    def __init__(self, error, after=0):
        super().__init__()
        self.error, self.left = error, after

    def write(self, text):
        self.left -= 1
        if self.left < 0:
            raise self.error
        return super().write(text)

    def isatty(self):
        return self.left > 0


FULL = OSError(errno.ENOSPC, "No space left on device")
GONE = OSError(errno.EIO, "Input/output error")  # a terminal that was closed
CLOSED = ValueError("I/O operation on closed file")


@pytest.mark.usefixtures("little_is_drawn")
@pytest.mark.parametrize("after", [4, *slow(0)])
@pytest.mark.parametrize("error", [FULL, *slow(GONE, CLOSED, BrokenPipeError(errno.EPIPE, ""))])
def test_a_display_that_fails_is_dropped_and_the_run_goes_on(error, after, tmp_path, monkeypatch):
    streams = Failing(error), Failing(error, after)
    monkeypatch.setattr(sys, "stdout", streams[0])
    monkeypatch.setattr(sys, "stderr", streams[1])
    code = cli.main(["run", "scalar", "--out", str(tmp_path), *FEW])
    assert (sys.stdout, sys.stderr) == streams
    monkeypatch.undo()
    assert code == 0
    assert results.load(tmp_path).summary["runs"][0]["status"] == "completed"


def test_what_was_asked_to_be_printed_and_cannot_be_is_an_error(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdout", Failing(FULL))
    assert cli.main(["list"]) == cli.NOT_DONE
    assert capsys.readouterr().err == (
        "thalweg: error: it could not be printed: No space left on device\n"
    )
    monkeypatch.setattr(sys, "stdout", Failing(BrokenPipeError(errno.EPIPE, "Broken pipe")))
    assert cli.main(["--help"]) == 0


def test_streams_that_are_not_there(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    codes = cli.main(["list"]), cli.main(["dance"])
    monkeypatch.undo()
    assert codes == (0, cli.BAD_INPUT)


def test_a_lenient_stream_is_its_stream_otherwise(capsys):
    with open(os.devnull, "w") as file:
        stream = Lenient(file)
        assert print("η", file=stream, flush=True) is None
        assert (stream.fileno(), stream.isatty(), stream.failure) == (file.fileno(), False, None)


@pytest.mark.survival
@pytest.mark.parametrize(
    ("command", "code", "shown"),
    [
        ("{thalweg} list | head -1; exit ${{PIPESTATUS[0]}}", 0, ""),
        ("{thalweg} list > /dev/full", cli.NOT_DONE, "could not be printed"),
        ("{thalweg} dance > /dev/full 2>&1", cli.BAD_INPUT, ""),
        ("{thalweg} run scalar --out {folder} {few} <&- >/dev/full 2>&-", 0, ""),
    ],
)
def test_streams_of_a_shell(command, code, shown, tmp_path):
    folder = tmp_path / "run"
    words = {"thalweg": f"{sys.executable} -m thalweg.cli", "few": " ".join(FEW), "folder": folder}
    done = subprocess.run(
        ["bash", "-c", command.format(**words)], stderr=subprocess.PIPE, text=True, timeout=120
    )
    assert done.returncode == code, done
    assert shown in done.stderr
    assert len(done.stderr.splitlines()) == bool(shown)
    if folder.exists():
        assert results.load(folder).summary["runs"][0]["status"] == "completed"
        # No file was given the number of a stream, so that what is meant for one went into it.
        assert b"thalweg:" not in (folder / "config.json").read_bytes()
