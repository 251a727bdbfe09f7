"""Tasks for threads of our own, done as in the thread that gives them."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import jax

T = TypeVar("T")


def with_jax_settings(task: Callable[..., T]) -> Callable[..., T]:
    """Return `task` with the precision and the device that JAX is set to use in this thread.

    Settings made in a `with jax....:` block hold for one thread only. This is for programs that
    call nothing of the caller's, whose losses may depend on any other setting too.
    """
    settings: Any = jax.config
    x64, device = settings.jax_enable_x64, settings.jax_default_device

    @wraps(task)
    def configured(*args: Any) -> T:
        with jax.enable_x64(x64), jax.default_device(device):
            return task(*args)

    return configured
