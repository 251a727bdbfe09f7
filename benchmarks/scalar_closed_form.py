"""Gradient flow solutions of scalar networks per second: chunks, a bare `vmap`, plain NumPy.

Run, on an otherwise idle machine::

    python benchmarks/scalar_closed_form.py [--starts 1000000] [--depth 5] [--chunk 500]

Compilation is timed apart; the best of several warm runs counts. A sample of the answers is
checked against 50-digit arithmetic (mpmath) before anything is printed as a result. The rival is
the same iteration in plain NumPy, without error bars, on all starts at once and in chunks.
"""

import argparse
import os
import time
from collections.abc import Callable

import jax
import mpmath
import numpy as np

from thalweg.scalar.network import ScalarNetwork


def best_of(run: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Return the seconds of the first run, compilation included, and of the best later one."""
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        jax.block_until_ready(run())
        seconds.append(time.perf_counter() - start)
    return seconds[0], min(seconds[1:])


def exact_sharpness(w: np.ndarray) -> mpmath.mpf:
    """Return `φ` to 50 digits for target 1: Newton from above on a convex increasing function."""
    with mpmath.workdps(50):
        squares = sorted(mpmath.mpf(float(a)) ** 2 for a in w)
        balances = [a - squares[0] for a in squares]
        s = mpmath.mpf(0)
        for _ in range(200):
            total = sum(mpmath.log(mpmath.exp(s) + b) for b in balances)
            step = total / sum(mpmath.exp(s) / (mpmath.exp(s) + b) for b in balances)
            s -= step
            if abs(step) < mpmath.mpf(10) ** -45:
                break
        return sum(1 / (mpmath.exp(s) + b) for b in balances)


def by_numpy(ws: np.ndarray) -> np.ndarray:
    """Return `φ` for target 1 and ordinary starts: Newton in `log x`, all starts at once."""
    squares = (ws * ws).T.copy()
    smallest = squares.min(axis=0)
    balances = squares - smallest
    s = np.minimum(np.log(smallest), 0.0)
    for _ in range(100):
        terms = np.exp(s) + balances
        step = np.log(terms).sum(axis=0) / (np.exp(s) / terms).sum(axis=0)
        s = np.minimum(s - step, 0.0)
        if np.max(np.abs(step)) < 1e-8:
            break
    return (1 / (np.exp(s) + balances)).sum(axis=0)


def by_numpy_in_chunks(ws: np.ndarray, chunk: int) -> np.ndarray:
    """Return the same, chunk after chunk."""
    return np.concatenate([by_numpy(ws[i : i + chunk]) for i in range(0, len(ws), chunk)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--starts", type=int, default=1_000_000)
    parser.add_argument("--depth", type=int, default=5)
    parser.add_argument("--chunk", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)

    network = ScalarNetwork(options.depth)
    ws = np.random.default_rng(0).standard_normal((options.starts, options.depth))
    found = network.flow_limits(ws, chunk=options.chunk)
    worst = 0.0
    for i in range(0, options.starts, max(1, options.starts // 200)):
        truth = exact_sharpness(ws[i])
        error = abs(mpmath.mpf(float(found.sharpness[i])) - truth)
        assert error <= found.error[i], f"error bar misses the truth at start {i}"
        worst = max(worst, float(error / truth))
    assert worst < 1e-12, f"relative error {worst:.1e}"
    bars = float(np.max(found.error / found.sharpness))
    print(f"worst relative error in the sample {worst:.1e}, widest error bar {bars:.1e}")

    runs = {f"chunks of {options.chunk}": lambda: network.flow_limits(ws, chunk=options.chunk)}
    vmapped = jax.jit(jax.vmap(network.flow_limit))
    runs["bare vmap"] = lambda: vmapped(ws)
    runs["plain NumPy"] = lambda: by_numpy(ws)
    runs["NumPy in chunks"] = lambda: by_numpy_in_chunks(ws, options.chunk)
    for name in ("plain NumPy", "NumPy in chunks"):
        off = np.abs(runs[name]() / found.sharpness - 1)
        assert np.median(off) < 1e-12, f"{name} is off by {np.median(off):.1e}"
    print(f"{options.starts} starts, depth {options.depth}, {os.cpu_count()} processors")
    rates = {}
    for name, run in runs.items():
        first, best = best_of(run, options.repeats)
        rates[name] = options.starts / best / 1e6
        print(f"{name:>16}: {rates[name]:.2f} million solutions/s (best), first run {first:.2f} s")
    ours, *rivals = rates.values()
    print(f"ours / the better NumPy: {ours / max(rivals[1:]):.1f}")


if __name__ == "__main__":
    main()
