"""Which numbers of stored results are values: those whose flow, or eigensolver, reached its end."""

import numpy as np
import xarray as xr

SETTLED = (0.0, 1.0, 7.0)
"""The statuses of flows with a value: converged, inaccurate, set-valued (`thalweg.flow.Status`)."""

BELOW_LEVEL = 9.0
"""The status of a truncated sharpness where there is nothing to measure."""

CONVERGED = (0.0,)
"""The statuses of eigensolvers with a value."""


def settled(dataset: xr.Dataset, variable: str = "gfs_sharpness") -> xr.DataArray:
    """Return a measured sharpness where it is a value, and NaN elsewhere.

    A value is finite, its flow or eigensolver settled, and its error bar is not infinite. Results
    of earlier versions have the number that was reached where others have NaN; it is no value
    either. What has no status and no error bar is believed.

    Parameters
    ----------
    dataset
        Results, as `descend` returns or a run folder holds them.
    variable
        `sharpness`, or the value of a measurement of flows, such as `gfs_sharpness`.

    Examples
    --------
    >>> axis = ("run", "gfs_step")
    >>> numbers = {"gfs_sharpness": (axis, [[9.0, 7.0, 8.0]]), "gfs_status": (axis, [[0, 2, 1]])}
    >>> settled(xr.Dataset(numbers)).values
    array([[ 9., nan,  8.]])
    """
    values = dataset[variable].astype(float)
    of_flows = variable != "sharpness"
    status = dataset.get(f"{variable.removesuffix('_sharpness')}_status")
    error = dataset.get(f"{variable}_error")
    known = np.isfinite(values)
    if status is not None:
        known &= status.isin(SETTLED if of_flows else CONVERGED) | status.isnull()
    if of_flows and error is not None:
        known &= ~np.isinf(error)
    return values.where(known)
