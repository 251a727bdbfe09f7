"""What would not fit into the memory of this machine is refused before it is begun.

Systems promise more memory than there is, and end the process that takes them at their word: an
error that can be caught comes for the most absurd sizes only.
"""

import os

BYTES_A_RESULT = 4 * 8
"""For each recorded number: in the run, in a checkpoint, in a dataset, and in its file."""


def check_fits(size: float, what: str, change: str) -> None:
    """Raise a ValueError if `size` bytes are more than this machine has.

    >>> check_fits(2**70, "the results", "choose fewer steps")
    Traceback (most recent call last):
    ValueError: the results need 1.2e+12 GB of memory, more than this machine has: choose fewer ...
    """
    if size > _memory():
        raise ValueError(
            f"{what} need {size / 1e9:.2g} GB of memory, more than this machine has: {change}"
        )


def is_exhausted(error: BaseException) -> bool:
    """Whether an exception says that there was not enough memory: one of Python, or of XLA."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and "RESOURCE_EXHAUSTED" in str(error)
    )


def _memory() -> float:
    try:
        return float(os.sysconf("SC_PHYS_PAGES")) * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # as on Windows
        return 2.0**63
