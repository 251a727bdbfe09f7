"""The GFS sharpness along an edge-of-stability run of every architecture, at a small size.

    python benchmarks/architectures.py [architecture ...]

Each run uses one of the step sizes that `thalweg run network` chooses by itself, whose threshold
lies between the sharpness at the start and that ahead. Prints step size, threshold, how often the
GFS sharpness falls, rises and stays undecided, where it ends, and what that cost. Where it does
not fall by more than its error bars, both values are solved again at a tolerance ten times tighter.
"""

import sys
import time

import jax
import numpy as np

import thalweg as tw
from thalweg.descent.step_sizes import chosen_step_sizes
from thalweg.experiments import Network

POINTS = 12
RTOL = 1e-4
TIGHTER = 10.0
CONFIGS = {
    "mlp": Network(architecture="mlp", samples=100, init_scale=0.5, steps=2400),
    "vgg": Network(architecture="vgg", samples=20, steps=2400),
    "resnet": Network(architecture="resnet", widths=(6, 12), samples=20, image_size=4, steps=2400),
    "transformer": Network(
        architecture="transformer", samples=20, patch=4, init_scale=0.7, steps=2400
    ),
}


def measure(name, config):
    began = time.perf_counter()
    problem, start = config.build()
    parameters = sum(leaf.size for leaf in jax.tree.leaves(start))
    step_size = chosen_step_sizes(problem, start)[1]
    chosen_in = time.perf_counter() - began
    every = config.steps // POINTS
    iterates = {}
    measured = [
        tw.Sharpness(every=max(every // 20, 1)),
        tw.GFSSharpness(every=every, start=every, rtol=RTOL),
        tw.Quantity("kept", lambda problem, w: keep(iterates, w), every=every, start=every),
    ]
    run = tw.descend(problem, start, step_size=step_size, steps=config.steps, measurements=measured)
    data = run.dataset.isel(run=0)
    phi, error = data["gfs_sharpness"].values, data["gfs_sharpness_error"].values
    known = {"falls": data["gfs_fall"], "fall_errors": data["gfs_fall_error"]}
    verdict = tw.monotonicity(phi, error, **known)
    threshold = 2 / step_size
    loss = data["loss"].values
    print(f"{name}: {parameters} parameters, {config.samples} images, tanh, {run.status[0]}")
    print(f"  step size {step_size:.4g}, 2/η {threshold:.5g} (chosen in {chosen_in:.0f} s)")
    print(
        f"  sharpness {data['sharpness'].values[0]:.4g} at the start, at most "
        f"{np.nanmax(data['sharpness']):.4g}; loss {loss[0]:.3g} to {loss[-1]:.3g}, "
        f"rising at {np.mean(np.diff(loss) > 0):.0%} of the steps"
    )
    print(f"  φ: {' '.join(f'{value:.5g}' for value in phi)}")
    statuses = [tw.Status(int(code)).name for code in data["gfs_status"].values]
    print(f"  largest bar {np.nanmax(error):.1g}; {', '.join(sorted(set(statuses)))}")
    print(
        f"  {verdict.falls} falls, {verdict.rises} rises, {verdict.undecided} undecided: "
        f"{verdict.verdict}; at the end φ = {phi[-1]:.6g} ± {error[-1]:.1g}, φ η / 2 = "
        f"{phi[-1] / threshold:.4f}"
    )
    print(
        f"  {run.gradient_evaluations:,.0f} gradient evaluations, {run.seconds:.0f} s", flush=True
    )
    for i in np.flatnonzero(np.asarray(verdict.steps) >= 0):
        again = [
            tw.gradient_flow_solution(problem, iterates[j], rtol=RTOL / TIGHTER) for j in (i, i + 1)
        ]
        shown = " -> ".join(f"{s.sharpness:.7g} ± {s.sharpness_error:.1g}" for s in again)
        print(f"  no sure fall after step {int(data['gfs_step'][i])}; solved again: {shown}")


def keep(iterates, w):
    iterates[len(iterates)] = w
    return 0.0


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    for name in sys.argv[1:] or CONFIGS:
        measure(name, CONFIGS[name])
