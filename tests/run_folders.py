"""What the tests of run folders compare: everything that must not depend on interruptions."""

import xarray as xr

from thalweg import results

FINISHED = {"config.json", "result.nc", "summary.json", "figure.png"}


def numbers(folder):
    """Return everything in a run folder that must not depend on interruptions."""
    stored = results.load(folder)
    summary = dict(stored.summary)
    del summary["seconds"]
    return stored.dataset, stored.config, summary


def assert_same(one, other):
    xr.testing.assert_identical(one[0], other[0])
    for name, values in one[0].variables.items():
        assert values.values.tobytes() == other[0][name].values.tobytes(), name
    assert one[1:] == other[1:]
