"""`result.nc`: a dataset as netCDF-4 with checksums, of itself and of the summary beside it.

The checksum of the whole file stands within it, since HDF5 shows damage as other numbers: what is
written holds `_BLANK` once, as a text of the name `_NAME`; `with_digest` replaces it by that
of all bytes, with `_BLANK` where it stands. It is to find accidents, not malice.
"""

import hashlib
import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thalweg.basics.memory import check_fits
from thalweg.runs.strict_json import to_json

if TYPE_CHECKING:  # slow to import
    import xarray as xr

_OF_SUMMARY, _NAME, _MARK = "summary_checksum", "thalweg_checksum", "thalweg-sha256:"
_BLANK = _MARK + 64 * "0"
_PATTERN = re.compile(_MARK.encode() + rb".{64}", re.DOTALL)


def with_digest(content: bytes) -> bytes:
    """Return `content`, which holds `_BLANK`, with its checksum.

    >>> content = with_digest(f"{_NAME} {_BLANK} and numbers".encode())
    >>> is_intact(content), is_intact(content.replace(b"n", b"m"))
    (True, False)
    """
    return content.replace(_BLANK.encode(), (_MARK + _digest(content)).encode(), 1)


def is_intact(content: bytes) -> bool:
    """Whether `content` fits its checksum; so does what has none, nor a trace of one."""
    found = _PATTERN.search(content)
    if found is None:
        return _NAME.encode() not in content
    blank = content[: found.start()] + _BLANK.encode() + content[found.end() :]
    return with_digest(blank) == content


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
    kept[_NAME] = _BLANK
    if summary is not None:
        kept[_OF_SUMMARY] = _digest(to_json(summary).encode())
    # In memory: HDF5 does not survive a disk that becomes full under it.
    content = io.BytesIO()
    dataset.assign_attrs(kept).to_netcdf(content, engine="h5netcdf")
    return with_digest(content.getvalue())


def read(path: Path) -> "tuple[xr.Dataset, str | None]":
    """Read a dataset, and the checksum of the summary that it was written with, if there is one.

    Raises a ValueError where the file is not as it was written.
    """
    import xarray as xr

    content = path.read_bytes()
    _check_unchanged(path, is_intact(content))
    try:
        with xr.open_dataset(io.BytesIO(content), engine="h5netcdf") as stored:
            # A few bytes of HDF5 can stand for any number of equal values.
            check_fits(stored.nbytes, "its values", "restore it, or run again with --overwrite")
            dataset = stored.load()
    # Damage shows as almost anything: of HDF5, of the netCDF conventions, of the decoding.
    except Exception as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"{path} cannot be read as netCDF: {reason}") from error
    dataset.attrs.pop(_NAME, None)
    return dataset, dataset.attrs.pop(_OF_SUMMARY, None)


def check_summary(path: Path, expected: str | None) -> None:
    """Raise a ValueError if the summary is not the one with the `expected` checksum."""
    if expected is not None:
        _check_unchanged(path, _digest(path.read_bytes()) == expected)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _check_unchanged(path: Path, is_unchanged: bool) -> None:
    if not is_unchanged:
        raise ValueError(
            f"{path} is damaged, or was changed after it was written: its checksum differs; "
            "restore it, or run again with --overwrite"
        )
