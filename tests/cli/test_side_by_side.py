"""Commands in processes of their own: what they leave, say, and how they are stopped together."""

import json
import os
import signal
import threading
import time
from dataclasses import replace

import pytest

from bad_inputs import thalweg
from thalweg import cli
from thalweg.cli.mistakes import BadInputError
from thalweg.cli.side_by_side import SideBySide
from thalweg.experiments import Network, Scalar
from thalweg.reproduce import cases, reproduction
from thalweg.reproduce.case import Case
from thalweg.runs import load

FEW = Scalar(steps=5, gfs_every=1)
SMALL = Network(
    architecture="mlp", widths=(3,), samples=10, image_size=2, step_size=(0.1,), steps=40,
    gfs_at=(0, 1, 20, 40),
)  # fmt: skip
CASES = [
    Case("few", "Few steps", "Nothing much.", FEW, 10.0),
    Case("small", "A small network", "Nothing much.", SMALL, 10.0),
]

pytestmark = pytest.mark.usefixtures("little_is_drawn")


@pytest.fixture
def chosen(monkeypatch):
    """Have others than the usual cases, and return how to choose them."""

    def choose(new):
        for module in (cases, reproduction):
            monkeypatch.setattr(module, "cases", lambda *_: new)

    choose(CASES)
    return choose


@pytest.mark.slow
def test_a_reproduction_is_the_same_in_several_processes(chosen, tmp_path):
    done = [
        thalweg("reproduce", "--out", tmp_path / str(processes), "--processes", processes)
        for processes in (1, 2)
    ]
    assert [code for code, _, _ in done] == [0, 0]
    assert [line for line in done[1][1].splitlines() if line.startswith("Few steps: ")]
    for case in CASES:
        alone, beside = (load(tmp_path / str(n) / case.folder) for n in (1, 2))
        assert alone.dataset.equals(beside.dataset)
    assert (tmp_path / "2" / "report.html").stat().st_size > 10_000
    code, out, _ = thalweg("reproduce", "--out", tmp_path / "2")
    assert (code, out.count("finished before")) == (0, 2)


@pytest.mark.survival
def test_a_signal_stops_all_processes_and_the_same_command_goes_on(chosen, tmp_path):
    chosen([replace(case, config=replace(case.config, steps=10**5)) for case in CASES])
    command = ["reproduce", "--out", tmp_path, "--processes", 2]

    def interrupt_once_both_have_saved():
        while not all((tmp_path / case.folder / "result.nc").exists() for case in CASES):
            time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=interrupt_once_both_have_saved, daemon=True).start()
    code, _, err = thalweg(*command)
    assert code == 128 + signal.SIGTERM
    assert "stopped before the end; the same command again continues" in err
    reached = []
    for case in CASES:
        summary = json.loads((tmp_path / case.folder / "summary.json").read_text())
        assert [run["status"] for run in summary["runs"]] == ["stopped"] * len(
            case.config.step_size
        )
        reached.append(summary["gradient_evaluations"])
    assert all(reached)
    text = (tmp_path / "report.md").read_text()
    assert "stopped" in text


def test_what_a_command_says_is_wrong_is_raised(tmp_path):
    told = []
    with SideBySide({"bad": ["run", "nonsense"]}, 1, told.append) as others:
        assert others.exit_code("another", lambda: False) is None
        with pytest.raises(BadInputError, match="unknown experiment 'nonsense'"):
            others.exit_code("bad", lambda: False)
    assert told == []


@pytest.mark.slow
def test_progress_is_told_by_the_name_of_the_run(tmp_path):
    told = []
    command = [
        *["run", "scalar", "--steps", "5", "--gfs-every", "5", "--out"],
        str(tmp_path / "few"),
    ]
    with SideBySide({"run": command}, 1, told.append) as others:
        assert others.exit_code("run", lambda: False) == 0
    assert told
    assert all(line.startswith("thalweg: ") and " few, " in line for line in told)


def test_no_command_begins_once_all_is_to_stop(tmp_path):
    commands = {str(n): ["run", "scalar", "--out", str(tmp_path / str(n))] for n in range(3)}
    with SideBySide(commands, 1, lambda line: None) as others:
        assert others.exit_code("2", lambda: True) == cli.INTERRUPTED
    assert not (tmp_path / "2").exists()


def test_a_number_of_processes_that_makes_no_sense(tmp_path):
    code, _, err = thalweg("reproduce", "--out", tmp_path / "no", "--processes", 0)
    assert (code, err) == (2, "thalweg: error: --processes must be at least 1, got 0\n")
