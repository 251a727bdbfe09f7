"""One BLAS thread while flows are solved: their matrices are small.

Threads of BLAS wait for each other by spinning. Where another process needs the cores, a
decomposition of 24 × 24 numbers then takes ten times as long and more, and where none does, hardly
less.
"""

import sys
import threading
from contextlib import ContextDecorator
from functools import lru_cache
from typing import Any, Self

from threadpoolctl import ThreadpoolController


class _OneBlasThread(ContextDecorator):
    """Limits BLAS to one thread until the outermost block or call is left; in the main thread.

    From others OpenBLAS takes no limit, and limits that overlap could not be undone in order.
    """

    def __init__(self) -> None:
        self._depth = 0
        self._limit: Any = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            if self._depth == 0:
                self._limit = _controller(len(sys.modules)).limit(limits=1, user_api="blas")
            self._depth += 1
        return self

    def __exit__(self, *_: object) -> None:
        if threading.current_thread() is threading.main_thread():
            self._depth -= 1
            if self._depth == 0:
                self._limit.restore_original_limits()


@lru_cache(1)
def _controller(modules: int) -> ThreadpoolController:
    """Return what controls the libraries that are loaded, sought anew when more modules are."""
    return ThreadpoolController()


one_blas_thread = _OneBlasThread()
"""A `with` block or a decorator."""
