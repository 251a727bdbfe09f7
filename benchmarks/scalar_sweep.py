"""Steps of gradient descent on scalar networks per second, by sweep and by plain NumPy.

Run, on an otherwise idle machine::

    python benchmarks/scalar_sweep.py [--starts 200000] [--depth 5] [--steps 500]

Both follow the same runs and count at how many steps the loss rose. That they agree is checked
before anything is printed. Best of several warm runs; compilation is timed apart; the two take
turns, so that another load on the machine meets both.
"""

import argparse
import os
import time

import jax
import numpy as np

from thalweg.scalar import scalar_sweep
from thalweg.scalar.outcomes import PROBE_STEPS


def by_numpy(ws, step_size, steps):
    """Return last losses and counts of rises: all starts at once, no more than NumPy."""
    w = np.ascontiguousarray(ws.T)
    inside = np.ones(w.shape[1], bool)
    rises = np.zeros(w.shape[1], np.int32)
    last = np.full(w.shape[1], np.inf)
    for step in range(steps + PROBE_STEPS):
        if step == steps:
            loss = 0.5 * (np.prod(w, axis=0) - 1) ** 2
            counted = rises + ((loss > last) & (loss > 1e-26))
        product = np.prod(w, axis=0)
        residual = product - 1
        now = 0.5 * residual**2
        rises += (now > last) & (now > 1e-26)
        last = now
        w -= step_size * residual * product / w
        inside &= np.all(w > 0, axis=0)
    return loss, counted


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--starts", type=int, default=200_000)
    parser.add_argument("--depth", type=int, default=5)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)

    ws = np.random.default_rng(0).uniform(0.7, 1.3, (options.starts, options.depth))
    step_size, few = 1.8 / options.depth, max(1, options.starts // 10)
    names = {
        "sweep": lambda: scalar_sweep(ws, step_size, options.steps),
        # A tenth of the starts: its time grows no slower than their number.
        "plain NumPy": lambda: by_numpy(ws[:few], step_size, options.steps),
        "sweep, GFS sharpness at every 10th step": lambda: scalar_sweep(
            ws[:few], step_size, options.steps, gfs_every=10
        ),
    }
    sizes = {"sweep": options.starts}
    seconds = {name: [] for name in names}
    for _ in range(options.repeats + 1):
        for name, run in names.items():
            start = time.perf_counter()
            found = run()
            seconds[name].append(time.perf_counter() - start)
            if name == "sweep":
                sweep = found
            elif name == "plain NumPy":
                loss, rises = found
    same = np.abs(sweep.loss[0, :few] - loss) <= 1e-9 + 1e-6 * loss
    assert np.mean(same) > 0.999, np.mean(same)
    assert np.mean(sweep.loss_rises[0, :few] == rises) > 0.99

    print(
        f"{options.starts} starts, depth {options.depth}, {options.steps} + {PROBE_STEPS} steps, "
        f"{os.cpu_count()} processors"
    )
    rates = {}
    for name, times in seconds.items():
        steps = sizes.get(name, few) * (options.steps + PROBE_STEPS)
        rates[name] = steps / min(times[1:])
        print(f"{name}: {rates[name] / 1e6:.1f} million steps/s (best), first run {times[0]:.2f} s")
    print(f"sweep / plain NumPy: {rates['sweep'] / rates['plain NumPy']:.1f}")


if __name__ == "__main__":
    main()
