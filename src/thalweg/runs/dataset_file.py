"""`result.nc`: a dataset as netCDF-4 with checksums, of itself and of the summary beside it."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thalweg.basics.memory import check_fits
from thalweg.runs import checksum
from thalweg.runs.strict_json import to_json

if TYPE_CHECKING:  # slow to import
    import xarray as xr

_OF_SUMMARY = "summary_checksum"


def encoded(
    dataset: "xr.Dataset", attributes: Mapping[str, Any], summary: Mapping[str, Any] | None
) -> bytes:
    """Return the file of a dataset with further attributes, mappings among them as JSON.

    The checksum of the `summary` that belongs to it, if it is known, is kept with the results.
    """
    kept = {
        name: to_json(value, indent=None) if isinstance(value, Mapping) else value
        for name, value in attributes.items()
    }
    kept[checksum.NAME] = checksum.BLANK
    if summary is not None:
        kept[_OF_SUMMARY] = checksum.digest(to_json(summary).encode())
    # In memory: HDF5 does not survive a disk that becomes full under it.
    content = io.BytesIO()
    dataset.assign_attrs(kept).to_netcdf(content, engine="h5netcdf")
    return checksum.with_digest(content.getvalue())


def read(path: Path) -> "tuple[xr.Dataset, str | None]":
    """Read a dataset, and the checksum of the summary that it was written with, if there is one.

    Raises
    ------
    ValueError
        The file is not as it was written.
    """
    dataset = _read_dataset(path)
    return dataset, dataset.attrs.pop(_OF_SUMMARY, None)


def check_summary(path: Path, expected: str | None) -> None:
    """Raise a ValueError if the summary is not the one with the `expected` checksum."""
    if expected is not None:
        _check_unchanged(path, checksum.digest(path.read_bytes()) == expected)


def _read_intact(path: Path) -> bytes:
    content = path.read_bytes()
    _check_unchanged(path, checksum.is_intact(content))
    return content


def _check_unchanged(path: Path, is_unchanged: bool) -> None:
    if not is_unchanged:
        raise ValueError(
            f"{path} is damaged, or was changed after it was written: its checksum differs; "
            "restore it, or run again with --overwrite"
        )


def _read_dataset(path: Path) -> "xr.Dataset":
    import xarray as xr

    content = _read_intact(path)
    try:
        with xr.open_dataset(io.BytesIO(content), engine="h5netcdf") as stored:
            # A few bytes of HDF5 can stand for any number of equal values.
            check_fits(stored.nbytes, "its values", "restore it, or run again with --overwrite")
            dataset = stored.load()
    # Damage shows as almost anything: of HDF5, of the netCDF conventions, of the decoding.
    except Exception as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"{path} cannot be read as netCDF: {reason}") from error
    dataset.attrs.pop(checksum.NAME, None)
    return dataset
