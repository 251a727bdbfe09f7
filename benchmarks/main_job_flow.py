"""What one GFS sharpness of the main job costs at rtol 1e-4, and how wrong it is.

    python benchmarks/main_job_flow.py

At step 1000 of the main job. The error is against thalweg's own answer at rtol 1e-5, whose error
bar is printed beside it: a check of the tolerance, not an independent one.
"""

import time

import jax
import jax.numpy as jnp

import thalweg as tw
from thalweg.problems import digits, mlp, mlp_init

STEPS, STEP_SIZE = 1000, 0.23


def main():
    jax.config.update("jax_enable_x64", True)
    problem = tw.Supervised(mlp, *digits(300))
    w = mlp_init(jax.random.key(0), (64, 64, 64, 10), jnp.float64)
    w = tw.descend(problem, w, step_size=STEP_SIZE, steps=STEPS).w[0]
    tw.gradient_flow_solution(problem, w, rtol=1e-2)  # compiles
    for rtol in (1e-4, 1e-5):
        begin = time.perf_counter()
        s = tw.gradient_flow_solution(problem, w, rtol=rtol)
        seconds = time.perf_counter() - begin
        print(
            f"rtol {rtol:g}: GFS sharpness {s.sharpness:.6f} ± {s.sharpness_error:.1e}, "
            f"{s.status.name}, {s.gradient_evaluations:.0f} gradient evaluations, {seconds:.1f} s",
            flush=True,
        )
        if rtol == 1e-4:
            first = s
    print(f"relative difference {abs(first.sharpness / s.sharpness - 1):.1e}")


if __name__ == "__main__":
    main()
