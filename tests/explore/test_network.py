"""The small network of the explorer: measured in the background, told as it goes, and stopped."""

import importlib.util
import threading

import numpy as np
import pytest

import thalweg as tw
from thalweg.explore.network import along, follow, sine_network

pytestmark = pytest.mark.slow
needs_bokeh = pytest.mark.skipif(importlib.util.find_spec("bokeh") is None, reason="needs bokeh")


class Inbox:
    """Datasets as they come, from another thread."""

    def __init__(self):
        self.datasets, self._came = [], threading.Condition()

    def __call__(self, dataset):
        with self._came:
            self.datasets.append(dataset)
            self._came.notify_all()

    def wait_for(self, holds):
        with self._came:
            assert self._came.wait_for(lambda: holds(self.datasets), timeout=120)


def threads():
    return {one for one in threading.enumerate() if one.daemon and one.name.startswith("Thread")}


def test_a_run_in_the_background_fills_in_what_descend_measures():
    inbox = Inbox()
    follow(0.16, inbox, steps=20, every=10)
    inbox.wait_for(lambda all_: all_ and np.isfinite(all_[-1]["gfs_sharpness"]).sum() == 3)
    known = [int(np.isfinite(one["gfs_sharpness"]).sum()) for one in inbox.datasets]
    assert known[0] < 3  # as it goes, not all at the end
    assert known == sorted(known)
    problem, start = sine_network()
    measured = [tw.GFSSharpness(every=10), tw.Sharpness(every=2)]
    expected = tw.descend(problem, start, step_size=0.16, steps=20, measurements=measured)
    columns = along(inbox.datasets[-1])
    data = expected.dataset.isel(run=0)
    np.testing.assert_array_equal(columns["step"], [0, 10, 20])
    np.testing.assert_array_equal(columns["gfs_sharpness"], data["gfs_sharpness"])
    np.testing.assert_array_equal(columns["error"], data["gfs_sharpness_error"])
    np.testing.assert_array_equal(columns["loss"], data["loss"].sel(step=[0, 10, 20]))
    sharpness = data["sharpness"].sel(sharpness_step=[0, 10, 20])
    np.testing.assert_array_equal(columns["sharpness"], sharpness)


def test_a_run_that_is_stopped_ends_and_tells_nothing_more():
    before, inbox = threads(), Inbox()
    stop = follow(0.16, inbox, steps=10**6, every=10)
    (thread,) = threads() - before
    inbox.wait_for(bool)
    stop()
    thread.join(timeout=120)
    assert not thread.is_alive()
    assert np.isnan(inbox.datasets[-1]["gfs_sharpness"].values[-1])  # nor to the end


class Document:
    """What the view asks of a document of Bokeh; what is to be done in its loop is done at once."""

    def __init__(self):
        self.ended, self.lock = [], threading.Lock()

    def add_next_tick_callback(self, callback):
        with self.lock:
            callback()

    def on_session_destroyed(self, callback):
        self.ended.append(callback)


@needs_bokeh
def test_the_view_shows_a_run_and_only_the_one_in_hand(monkeypatch):
    from thalweg.explore import network_view

    runs = []

    def follow(step_size, receive, *, steps, every):
        runs.append([step_size, receive, False])
        number = len(runs) - 1
        return lambda: runs[number].__setitem__(2, True)

    monkeypatch.setattr(network_view, "follow", follow)
    problem, start = sine_network()
    measured = [tw.GFSSharpness(every=10), tw.Sharpness(every=2)]
    run = tw.descend(problem, start, step_size=0.16, steps=10, measurements=measured)
    data = run.dataset.isel(run=0)
    view = network_view.NetworkView(document := Document())
    view._toggle()
    assert (view.button.label, runs[0][0]) == ("stop", 0.16)
    runs[0][1](data)
    assert (
        view.panels.points.data["gfs_sharpness"].tolist() == data["gfs_sharpness"].values.tolist()
    )
    assert view.panels.threshold.data["threshold"] == [2 / 0.16] * 2
    assert f"<b>{float(data['gfs_sharpness'][-1]):.5f}</b>" in view.readout.text
    view._toggle()
    assert (view.button.label, runs[0][2]) == ("start", True)
    view.step_size.value = 0.2
    view._toggle()
    before = view.readout.text
    runs[0][1](data)  # late, of the run before
    assert view.readout.text == before
    document.ended[0](None)
    assert runs[1][2]
