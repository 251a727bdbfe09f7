"""Squared regression measured at every step of gradient descent: how long it takes, what it shows.

    python benchmarks/squared_every_step.py [--steps 10000] [--sharpness]

Prints the seconds, compilation apart (a short run before the clock starts), and the verdict.
"""

import argparse
import time

import jax
import numpy as np

import thalweg as tw
from thalweg.experiments import SquaredRegressionExperiment


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=50)
    parser.add_argument("--dimension", type=int, default=100)
    parser.add_argument("--nonzero", type=int, default=5)
    parser.add_argument("--scale", type=float, default=0.5)
    parser.add_argument("--step-size", type=float, default=0.25)
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--sharpness", action="store_true", help="measure the sharpness as well")
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    problem, start = SquaredRegressionExperiment(
        samples=options.samples,
        dimension=options.dimension,
        nonzero=options.nonzero,
        scale=options.scale,
    ).build()
    measurements = [tw.GFSSharpness(every=1)]
    if options.sharpness:
        measurements.append(tw.Sharpness(every=1))

    def descend(steps: int) -> tw.Run:
        return tw.descend(
            problem, start, step_size=options.step_size, steps=steps, measurements=measurements
        )

    descend(3)
    began, cpu = time.perf_counter(), time.process_time()
    run = descend(options.steps)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    data = run.dataset.isel(run=0)
    found = tw.monotonicity(data["gfs_sharpness"], data["gfs_sharpness_error"])
    assert run.status[0] == "completed", run.message
    assert np.all(data["gfs_status"] == tw.Status.CONVERGED)
    print(
        f"n = {options.samples}, d = {options.dimension}, {options.steps} steps, "
        f"{'φ and sharpness' if options.sharpness else 'φ'} at each: "
        f"{seconds:.1f} s ({cpu:.1f} s of CPU), {1e3 * seconds / options.steps:.2f} ms a step"
    )
    print(
        f"{found.verdict}: {found.falls} falls, {found.rises} rises, {found.undecided} undecided; "
        f"no step rose by more than {found.largest_possible_rise:.1g}"
    )
    values, losses = data["gfs_sharpness"].values, data["loss"].values
    bar = np.max(data["gfs_sharpness_error"].values / values)
    print(
        f"φ from {values[0]:.6g} to {values[-1]:.6g}, 2/η = {2 / options.step_size:.6g}; the "
        f"widest error bar is {bar:.1g}, relatively; the loss rose at "
        f"{np.sum(np.diff(losses) > 0)} steps, and ends at {losses[-1]:.1g}"
    )


if __name__ == "__main__":
    main()
