"""Calls of compiled programs that call nothing of the user's: NaN is an answer to them."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Lock
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray


@contextmanager
def nan_checks_off() -> Iterator[None]:
    """Do without `jax_debug_nans` and `jax_debug_infs` in a block, in this thread.

    Whoever switches them on looks for NaN in a loss of their own.
    """
    with jax.debug_nans(False), jax.debug_infs(False):
        yield


def fill(
    out: Sequence[NDArray[Any]],
    rows: Callable[[int], Sequence[Any]],
    block: int,
    report: Callable[[int], None] | None,
) -> None:
    """Fill arrays block by block, on all processors.

    `rows(first)` returns `block` rows of each array, from `first` on; of the last call, which is
    padded so that all have one shape and are compiled once, what is too much is left out. Compiled
    calls release Python's lock, so that ordinary threads keep all processors busy; they use the
    precision and the device of this thread, where settings made in a `with jax....:` block would
    not hold for them. `report` is called with the number of rows done so far.
    """
    settings: Any = jax.config
    x64, device = settings.jax_enable_x64, settings.jax_default_device
    lock, done = Lock(), 0

    def fill_block(first: int) -> None:
        nonlocal done
        with jax.enable_x64(x64), jax.default_device(device), nan_checks_off():
            found = [np.asarray(array) for array in rows(first)]
        parts = [array[first : first + block] for array in out]
        for part, values in zip(parts, found, strict=True):
            part[...] = values[: len(part)]
        with lock:
            done += len(parts[0])
            if report is not None:
                report(done)

    pool = ThreadPoolExecutor(max_workers=os.cpu_count())
    try:
        list(pool.map(fill_block, range(0, len(out[0]), block)))
    finally:  # also after Ctrl-C: what has not begun is dropped
        pool.shutdown(cancel_futures=True)
