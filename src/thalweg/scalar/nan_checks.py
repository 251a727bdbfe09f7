"""Computations in which NaN and infinity are answers, out of reach of JAX's debugging switches."""

from collections.abc import Iterator
from contextlib import contextmanager

import jax


@contextmanager
def nan_checks_off() -> Iterator[None]:
    """Do without `jax_debug_nans` and `jax_debug_infs` in a block, in this thread.

    For programs that call nothing of the caller's: whoever switches them on looks for NaN in a loss
    of their own.
    """
    with jax.debug_nans(False), jax.debug_infs(False):
        yield
