"""How true, and how sharp, are the error bars of falls between neighbours.

    python benchmarks/falls.py [cases]

Pairs of neighbours, one step of gradient descent apart, of random squared regressions and scalar
networks, whose falls are known from the closed form; then the main job, one and 20 steps apart,
against solves at a tolerance 100 times tighter.
"""

import sys

import jax
import jax.numpy as jnp
import numpy as np

import thalweg as tw
from hard_flows import MAIN_STEP_SIZE, ByDefinition, gradient_descent, tanh_digits


def random_pair(seed):
    """Return a problem with a closed form, a start, the next iterate, and an accuracy."""
    rng = np.random.default_rng((7, seed))
    if seed % 2:
        depth = int(rng.integers(2, 7))
        problem, w = tw.ScalarNetwork(depth), jnp.asarray(rng.uniform(0.4, 1.8, depth))
    else:
        n, d = (6, 10) if seed % 4 else (10, 6)
        x = rng.standard_normal((n, d))
        problem = tw.SquaredRegression(x, x @ rng.standard_normal(d) + rng.uniform(0, 0.5, n))
        w = {name: jnp.asarray(rng.uniform(0.3, 1.2, d)) for name in ("u", "v")}
    step_size = 10 ** rng.uniform(-3, 0) / tw.sharpness(problem, w)
    return problem, w, gradient_descent(problem, w, step_size, 1)[0], 10 ** rng.uniform(-5, -3)


def random_falls(cases):
    errors, bars, separate, falls = [], [], [], []
    for seed in range(cases):
        problem, w, w_next, rtol = random_pair(seed)
        exact = tw.gfs_sharpness_fall(problem, w, w_next)
        hidden = ByDefinition(problem)
        ends = [
            tw.gradient_flow_solution(hidden, v, rtol=rtol, method=tw.flow.Stabilized())
            for v in (w, w_next)
        ]
        fall = tw.gfs_sharpness_fall(hidden, w, w_next, rtol=rtol, solution=ends[0])
        if not all(end.converged for end in ends) or exact.status is not tw.Status.CONVERGED:
            continue
        errors.append(abs(fall.fall - exact.fall))
        bars.append(fall.error + exact.error)
        separate.append(sum(end.sharpness_error for end in ends))
        falls.append(abs(exact.fall))
        if errors[-1] > bars[-1]:
            print(f"miss: seed {seed}, fall {exact.fall:.3e}, off by {errors[-1]:.1e}, {fall}")
    errors, bars, separate, falls = map(np.asarray, (errors, bars, separate, falls))
    print(f"{len(errors)} of {cases} random pairs converged")
    print(f"bar of the fall holds: {100 * np.mean(errors <= bars):.1f}%")
    print(f"bar / error, median: {np.median(bars / np.maximum(errors, 1e-16)):.1f}")
    print(f"bars of the two values / bar of the fall, median: {np.median(separate / bars):.0f}")
    print(
        f"decided by the two values: {100 * np.mean(falls > separate):.0f}%, "
        f"by the fall: {100 * np.mean(falls > bars):.0f}%"
    )


def main_job():
    start = tanh_digits(1000)
    problem, w = start.problem, start.w
    here = {rtol: tw.gradient_flow_solution(problem, w, rtol=rtol) for rtol in (1e-4, 1e-6)}
    for steps in (1, 20):
        w_next = gradient_descent(problem, w, MAIN_STEP_SIZE, steps)[0]
        for rtol, solution in here.items():
            there = tw.gradient_flow_solution(problem, w_next, rtol=rtol, previous=solution)
            fall = tw.gfs_sharpness_fall(problem, w, w_next, rtol=rtol, solution=solution)
            print(
                f"main job, {steps} steps apart, rtol {rtol:g}: fall {fall.fall:.6e} "
                f"± {fall.error:.1e} ({fall.gradient_evaluations:.0f} evaluations); from two "
                f"values {solution.sharpness - there.sharpness:.6e} "
                f"± {solution.sharpness_error + there.sharpness_error:.1e} "
                f"({there.gradient_evaluations:.0f} evaluations for the second)",
                flush=True,
            )


def main():
    jax.config.update("jax_enable_x64", True)
    random_falls(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
    main_job()


if __name__ == "__main__":
    main()
