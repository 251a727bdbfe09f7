"""What is shown of what is being done: drawn again and again, or in lines of a log."""

import logging
import re
import time

import jax.numpy as jnp
import pytest

import thalweg as tw
from thalweg.basics.activity import activities, doing, working_time
from thalweg.descent import Progress, forecast
from thalweg.display import Display, progress
from thalweg.flow import Progress as FlowProgress
from thalweg.problems.compiling import compiled

LINE = re.compile(r"thalweg: \d\d:\d\d:\d\d (.*)")


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr("thalweg.display.watched.REDRAWN", 0.01)
    monkeypatch.setattr("thalweg.display.watched.PATIENCE", 0.05)
    monkeypatch.setattr("thalweg.display.watched.LONGEST_SILENCE", 0.2)


def wait_for(shown, text):
    """Wait until it is shown, and return all that is."""
    for _ in range(1000):
        if text in shown():
            return shown()
        time.sleep(0.01)
    raise AssertionError(f"{text!r} is not in {shown()[-500:]!r}")


@pytest.fixture
def shown(capsys):
    """Return what says what has been shown so far."""
    parts = []

    def read():
        parts.append(capsys.readouterr().err)
        return "".join(parts)

    return read


@pytest.mark.usefixtures("impatient")
def test_a_log_has_lines_though_nothing_reports(shown):
    with Display("mine"), doing("building"), doing("compiling loss"):
        wait_for(shown, "compiling")
        time.sleep(0.5)
    lines = [LINE.fullmatch(line) for line in shown().splitlines()]
    assert all(lines)
    assert lines[0][1].startswith("mine, 0 s: building: compiling loss")
    assert 2 <= len(lines) <= 6


@pytest.mark.usefixtures("impatient")
def test_what_is_over_quickly_has_no_line(shown):
    with Display("mine"), doing("building"):
        pass
    assert shown() == ""


@pytest.mark.usefixtures("impatient")
def test_a_terminal_has_one_line_that_is_gone_at_the_end(shown):
    with Display("mine", drawn=True) as show:
        with doing("compiling loss"):
            wait_for(shown, "mine, 0 s: compiling loss")
        show(
            Progress(0, 2, 0.1, 5, 10, 0.5, FlowProgress(1.0, 1e-9, 100.0, 0.3), seconds_left=75.0)
        )
        wait_for(shown, "75 s left")
        show.say("this stays")
    text = shown()
    assert "mine, [............] 0 s, about 75 s left: step size 0.1, step 5 of 10, loss" in text
    assert next(line for line in text.split("\n") if "stays" in line).endswith(
        "\r\x1b[Kthalweg: this stays"
    )
    assert text.endswith("\r\x1b[K")
    assert text.count("\n") == 1


@pytest.mark.usefixtures("impatient")
def test_lines_of_another_process_are_shown_in_the_one_line_of_a_terminal(shown):
    with Display("mine", drawn=True) as show, doing("waiting"):
        show.relay("thalweg: 12:34:56 other, 3 s: step 5 of 10")
        wait_for(shown, "mine, 0 s: other, 3 s: step 5 of 10, waiting")
        show.relay("thalweg: warning: this stays")
    assert shown().count("\n") == 1
    assert "12:34:56" not in shown()


def test_lines_of_another_process_are_lines_of_a_log(shown):
    line = "thalweg: 12:34:56 other, 3 s: step 5 of 10"
    Display("mine", drawn=False).relay(line)
    assert shown() == f"{line}\n"


def test_progress_says_where_it_stands():
    flow = FlowProgress(1.0, 1e-9, 1234.0, 0.3)
    assert str(flow) == "gradient flow 30%, 1,234 gradients, loss 1.0e-09"
    assert str(Progress(0, 2, 0.1, 5, 10, 0.5, flow)) == (
        f"step size 0.1, step 5 of 10, loss 0.5, {flow}"
    )
    assert str(Progress(0, 1, float("nan"), 5, 10, 0.5)) == "step 5 of 10, loss 0.5"


def test_a_log_has_a_line_at_every_tenth(shown):
    show = Display("mine")
    for step in range(0, 1001, 5):
        show(Progress(0, 1, 0.1, step, 1000, 0.5, seconds_left=1000.0 - step))
    lines = shown().splitlines()
    assert len(lines) == 11
    assert lines[5].endswith(
        " mine, 0 s, about 8 min left: step size 0.1, step 500 of 1000, loss 0.5"
    )


def test_what_measures_enters_it(shown, monkeypatch):
    entered = []
    monkeypatch.setattr(Display, "__enter__", lambda self: entered.append(self))
    monkeypatch.setattr(Display, "__exit__", lambda self, *_: entered.append(None))
    network, w, report = tw.ScalarNetwork(depth=2), jnp.array([2.0, 0.3]), progress()
    tw.gradient_flow_solution(network, w, report=report)
    assert entered == [report, None]
    tw.gfs_sharpness_fall(network, w, w + 1e-3, report=report)
    tw.truncated_sharpness(lambda w: jnp.exp(-w[0]), w, level=0.1, report=report)
    tw.descend(network, w, step_size=0.1, steps=2, report=report)
    assert entered.count(report) == entered.count(None) >= 4


def test_compiling_is_told_and_counts_as_no_work(caplog):
    seen = []

    @compiled
    def doubled(x):
        seen.extend(activity.what for activity in activities())
        time.sleep(0.5)  # as tracing a large loss does
        return 2 * x

    caplog.set_level(logging.INFO, logger="thalweg")
    worked, began = working_time(), time.monotonic()
    doubled(jnp.ones(3))
    assert time.monotonic() - began >= 0.5
    assert working_time() - worked < 0.4
    doubled(jnp.ones(3))
    assert seen == ["compiling doubled"]
    assert activities() == []
    assert [record.message.split(":")[0] for record in caplog.records] == ["compiling doubled"]


def test_seconds_left_are_those_of_what_is_to_come(monkeypatch):
    """A measurement takes a second, and steps none."""
    now, told = [0.0], []
    monkeypatch.setattr(forecast, "working_time", lambda: now[0])

    def measure(problem, w):
        now[0] += 1
        return 0.0

    def run(**schedule):
        told.clear()
        slow = tw.Quantity("slow", measure, **schedule)
        options = {"step_size": [0.1, 0.2], "steps": 20, "measurements": slow}
        tw.descend(lambda w: jnp.sum(w**2), jnp.ones(2), **options, report=told.append)

    run(every=1)
    assert told[0].seconds_left is None
    left = {(one.run, one.step): one.seconds_left for one in told}
    assert left[0, 1] == pytest.approx(19 + 20)  # the start is measured once
    assert left[0, 20] == pytest.approx(20)
    assert left[1, 15] == pytest.approx(5)
    assert left[1, 20] == 0
    run(at=tw.Refined((0, 5), 9))
    left = [one.seconds_left for one in told if one.step == 20]
    assert left == pytest.approx([*range(14, 7, -1), *range(6, -1, -1)])


def test_a_flow_in_hand_is_a_part_of_what_is_left():
    told = []
    w = jnp.array([3.0, 1.0, 0.5, 0.3])
    network = tw.ScalarNetwork(depth=4)
    measured = tw.GFSSharpness(every=1)
    tw.descend(
        lambda w: network(w), w, step_size=0.1, steps=2, report=told.append, measurements=measured
    )
    flows = [one for one in told if one.flow is not None and one.step == 1]
    assert all(one.seconds_left > 0 for one in flows)
