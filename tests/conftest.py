"""Strict numerics for every test: float64, strict promotion, no silent rank promotion."""

import gc
import os
from pathlib import Path

import jax
import pytest
from jax._src.lru_cache import LRUCache
from matplotlib.figure import Figure
from threadpoolctl import threadpool_limits

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
# Compiling takes most of the time, and the programs are small: little is optimised, loops are
# written the simple way, and by one thread, since the other core has its own worker. That takes a
# sixth. XLA reads its flags when it is first used; processes that tests start read them, too.
FLAGS = "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
os.environ.setdefault("XLA_FLAGS", FLAGS)
jax.config.update("jax_disable_most_optimizations", True)

# Threads of BLAS wait for each other by spinning: where every core has a worker, they take ten
# times the processor's time of one thread.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
threadpool_limits(1)

# So what was compiled is kept for the other worker, for the next run, and for the tests that start
# a process of their own. Those only read: one that is killed would leave a part of a program.
CACHE = str(Path(__file__).parent.parent / ".pytest_cache" / "jax")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", CACHE)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "1000000")
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.01)


def put_as_a_whole(cache, key, value):
    """Write an entry under another name first, since others may be reading."""
    target = cache.path / f"{key}-cache"
    if not target.exists():
        part = target.with_name(f"{key}-{os.getpid()}")
        part.write_bytes(value)
        part.replace(target)


LRUCache.put = put_as_a_whole

# What tracing makes is short-lived, and what has been imported stays.
gc.freeze()
gc.set_threshold(50_000, 20, 50)

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


@pytest.fixture
def little_is_drawn(monkeypatch):
    """Let runs draw an empty figure: a real one takes longer than a short run."""
    empty = Figure(figsize=(0.1, 0.1))
    monkeypatch.setattr("thalweg.runs.figure.plot", lambda dataset, **options: empty)
