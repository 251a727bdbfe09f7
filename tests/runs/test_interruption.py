"""Signals: which are noted, which of them insist, and what was set before comes back."""

import os
import signal
import time

import pytest

from thalweg.runs import interruption
from thalweg.runs.interruption import SIGNALS, Interruption


def send(number):
    os.kill(os.getpid(), number)
    time.sleep(0.001)  # Python notes it between two instructions


@pytest.fixture
def insisted(monkeypatch):
    """Return the signals with which the process would have ended itself; time stands at 0."""
    ended, now = [], [0.0]
    really = os.kill

    def kill(pid, number):
        if signal.getsignal(number) is signal.SIG_DFL:
            ended.append(number)
        else:
            really(pid, number)

    monkeypatch.setattr(os, "kill", kill)
    monkeypatch.setattr(interruption.time, "monotonic", lambda: now[0])
    return ended, now


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_is_noted_and_told(number, capfd):
    before = [signal.getsignal(one) for one in SIGNALS]
    with Interruption() as noted:
        assert (noted.signal, noted.exit_code) == (None, 0)
        send(number)
        assert (noted.signal, noted.exit_code) == (number, 128 + number)
        send(number)
    assert [signal.getsignal(one) for one in SIGNALS] == before
    assert capfd.readouterr().err.count("stopping; what there is will be saved") == 1


def test_all_that_schedulers_send_are_among_them():
    names = {signal.Signals(number).name for number in SIGNALS}
    assert names >= {"SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU"}


def test_who_insists_is_obeyed_but_not_who_sends_twice_at_once(insisted):
    ended, now = insisted
    with Interruption() as noted:
        for now[0] in (0.0, 0.0, 0.9):  # as `timeout` does: to the process, and to its group
            send(signal.SIGTERM)
        assert ended == []
        now[0] = 1.1
        send(signal.SIGINT)
        assert ended == [signal.SIGINT]
    assert noted.signal == signal.SIGTERM


def test_what_comes_early_and_often_does_not_insist(insisted):
    ended, now = insisted
    with Interruption() as noted:
        for now[0] in (0.0, 5.0, 10.0):
            send(signal.SIGXCPU)
            send(signal.SIGUSR1)
        now[0] = 60.0
        send(signal.SIGTERM)
        assert ended == []
    assert noted.signal == signal.SIGXCPU


def test_what_is_to_be_ignored_is_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interruption() as noted:
            send(signal.SIGHUP)
        assert noted.signal is None
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_without_a_terminal_nothing_is_told(monkeypatch):
    def write(number, text):
        raise OSError

    monkeypatch.setattr(os, "write", write)
    with Interruption() as noted:
        send(signal.SIGHUP)
    assert noted.signal == signal.SIGHUP
