"""Strict numerics for every test: float64, strict promotion, no silent rank promotion."""

import os
from pathlib import Path

import jax
import pytest

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
# Compiling takes most of the time, and the programs are small.
jax.config.update("jax_disable_most_optimizations", True)

# Most of the time goes into compiling, so what was compiled is kept for the next run and for the
# other worker. Through the environment as well, for the tests that start a process of their own.
CACHE = str(Path(__file__).parent.parent / ".pytest_cache" / "jax")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", CACHE)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")
jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


MOST_MEMORY = 2 * 2**30  # bytes, beyond which a worker lets its compiled programs go


@pytest.fixture(scope="module", autouse=True)
def programs_do_not_fill_the_memory():
    yield
    pages = Path("/proc/self/statm")
    if (
        pages.exists()
        and int(pages.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") > MOST_MEMORY
    ):
        jax.clear_caches()
