"""Which stored numbers are values: the same ones for verdicts, final values, claims and figures."""

import numpy as np
import pytest
import xarray as xr

from thalweg import results
from thalweg.basics.settled import SETTLED
from thalweg.descent import EigenStatus
from thalweg.flow import Status
from thalweg.runs.judged import judged


def test_the_statuses_with_a_value_are_those_of_the_package():
    assert tuple(float(status) for status in Status if status.is_settled) == SETTLED
    assert EigenStatus.CONVERGED == 0


def test_settled_keeps_values_and_no_number_in_disguise():
    axis = ("run", "gfs_step")
    data = xr.Dataset(
        {
            "gfs_sharpness": (axis, [[9.0, 8.0, 7.0, 6.0, 5.0, np.nan]]),
            "gfs_sharpness_error": (axis, [[0.1, 0.1, 0.1, np.inf, np.nan, np.nan]]),
            "gfs_status": (axis, [[0.0, 2.0, 7.0, 0.0, 1.0, np.nan]]),
            "sharpness": (("run", "sharpness_step"), [[3.0, 4.0]]),
            "sharpness_error": (("run", "sharpness_step"), [[np.inf, 0.1]]),
            "sharpness_status": (("run", "sharpness_step"), [[0.0, 1.0]]),
        },
        {"gfs_step": range(6)},
    )
    kept = results.settled(data)
    np.testing.assert_array_equal(kept, [[9.0, np.nan, 7.0, np.nan, 5.0, np.nan]])
    assert kept.dims == axis
    np.testing.assert_array_equal(results.settled(data, "sharpness"), [[3.0, np.nan]])
    # The fall that is certain is from 9 to 7, whatever number stands between.
    assert judged(data.isel(run=0)).net_fall.size == pytest.approx(2.0)
