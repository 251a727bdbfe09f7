"""The dual against the integrated flow: diagonal networks on random problems.

    python benchmarks/dual.py [--problems 20]

For every depth: fewer samples than features, as many, and more (whose random targets cannot be
fitted); the same with a coordinate of the start that is zero, where there is no dual and the flow
is integrated. The other side is SciPy's Radau with a velocity written out by hand, and the largest
eigenvalue of a Hessian written out by hand: nothing of thalweg's. Prints, for each group, the
method that was chosen, how the flows ended, the largest difference of φ, relatively, and how often
it is within the error bar (widened by Radau's own tolerance, 1e-9).
"""

import argparse
import time
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
from scipy.integrate import solve_ivp

import thalweg as tw

SHAPES = [(4, 8), (5, 5), (12, 4)]
ORACLE = 1e-9


def make(depth, shape, zero, seed):
    random = np.random.default_rng([seed, depth, *shape])
    n, d = shape
    x, y = random.standard_normal(shape), random.standard_normal(n)
    signs = random.choice([-1, 1], (2, d))
    if depth % 2:
        signs[1] = signs[0]
    start = 0.5 * random.uniform(0.5, 1.5, (2, d)) * signs
    if zero:
        start[random.integers(2), random.integers(d)] = 0.0
    return tw.DiagonalNetwork(x, y, depth), x, y, start


def integrated(x, y, start, p):
    """Return the largest eigenvalue of the Hessian where the flow ends."""
    n, d = x.shape

    def velocity(_, w):
        slope = p * x.T @ (x @ (w[:d] ** p - w[d:] ** p) - y) / n
        return np.concatenate([-(w[:d] ** (p - 1)) * slope, w[d:] ** (p - 1) * slope])

    ends = solve_ivp(velocity, (0, 1e7), start.ravel(), method="Radau", rtol=1e-10, atol=1e-13).y[
        :, -1
    ]
    u, v = ends[:d], ends[d:]
    jacobian = p * np.hstack([x * u ** (p - 1), -x * v ** (p - 1)])
    slope = p * (p - 1) * x.T @ (x @ (u**p - v**p) - y)
    curvature = np.concatenate([slope * u ** (p - 2), -slope * v ** (p - 2)])
    return np.linalg.eigvalsh((jacobian.T @ jacobian + np.diag(curvature)) / n)[-1]


def compare(depth, shape, zero, problems):
    began, differences, held = time.perf_counter(), [], 0
    endings = Counter()
    for seed in range(problems):
        problem, x, y, start = make(depth, shape, zero, seed)
        w = {"u": jnp.asarray(start[0]), "v": jnp.asarray(start[1])}
        s = tw.gradient_flow_solution(problem, w, rtol=1e-6)
        endings[f"{s.method} {s.status.name}"] += 1
        if s.status.is_settled:
            other = integrated(x, y, start, depth)
            difference = abs(s.sharpness - other) / other
            differences.append(difference)
            held += difference <= s.sharpness_error / s.sharpness + ORACLE
    kinds = f"{shape[0]} x {shape[1]}" + (", a zero" if zero else "")
    ended = ", ".join(f"{count} {ending}" for ending, count in sorted(endings.items()))
    print(
        f"depth {depth}, {kinds}: {ended}; largest difference {max(differences):.1e}, within the "
        f"bar {held} of {len(differences)}; {time.perf_counter() - began:.0f} s",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problems", type=int, default=20)
    problems = parser.parse_args().problems
    jax.config.update("jax_enable_x64", True)
    for depth in (2, 3, 4):
        for shape in SHAPES:
            for zero in (False, True):
                compare(depth, shape, zero, problems)


if __name__ == "__main__":
    main()
