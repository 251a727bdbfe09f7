"""Check the bracket of the final sharpness on runs that meet the convergence condition.

Run::

    python benchmarks/convergence_bracket.py [--runs 14000]

Starts of depths 2 to 100 close to what the condition allows are run until the loss is settled;
the final sharpness must lie in the bracket, the loss must fall at the proved rate, and the GFS
sharpness must never rise.
"""

import argparse
import time
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from thalweg.scalar.conditions import convergence_condition
from thalweg.scalar.descent import gradient_step, product_and_others
from thalweg.scalar.flow_limit import solve_coordinates_first

DEPTHS = (2, 3, 5, 10, 30, 100)
SETTLED = 1e-22  # ℓ, far enough above what rounding leaves at depth 100


class Runs(NamedTuple):
    """What became of runs, one entry per start."""

    met: Array  # the convergence condition
    settled: Array
    inside: Array  # the final sharpness is in the bracket
    used: Array  # by how much φ fell, in units of what the bracket allows
    slowest: Array  # largest ratio of the loss to the proved rate


def sample(key: Array, depth: int, number: int) -> tuple[Array, Array]:
    """Return starts `(depth, number)` near minima, and step sizes, close to what is allowed."""
    keys = jax.random.split(key, 6)
    spread = 10 ** jax.random.uniform(keys[0], (number,), minval=-2.0, maxval=0.3)
    logs = spread[None] * jax.random.normal(keys[1], (depth, number))
    minimum = jnp.exp(logs - jnp.mean(logs, axis=0)[None])
    delta = 10 ** jax.random.uniform(keys[2], (number,), minval=-2.0, maxval=-0.4)
    delta = jnp.where(jax.random.bernoulli(keys[3], 0.8, (number,)), delta, 3.7 * delta)
    residual = jnp.minimum(delta, 0.4) / 5 * jax.random.uniform(keys[4], (number,), maxval=1.05)
    residual = residual * jax.random.rademacher(keys[5], (number,), residual.dtype)
    w = minimum * jnp.exp(jnp.log1p(residual) / depth)[None]
    return w, (2 - delta) / solve_coordinates_first(w, jnp.ones(())).sharpness


@partial(jax.jit, static_argnums=(1, 2))
def simulate(key: Array, depth: int, number: int, most_steps: int = 20_000) -> Runs:
    """Return what became of `number` runs."""
    w, step_size = sample(key, depth, number)
    y = jnp.ones(())
    condition = convergence_condition(w.T, step_size)
    rate = 1 - jnp.minimum(condition.below.value, 0.4)
    first = 0.5 * (product_and_others(w)[0] - 1) ** 2

    def unfinished(carry: tuple[Array, ...]) -> Array:
        _, loss, _, _, i = carry
        return jnp.any(condition.holds & (loss > SETTLED)) & (i < most_steps)

    def body(carry: tuple[Array, ...]) -> tuple[Array, ...]:
        w, _, allowed, slowest, i = carry
        new, _ = gradient_step(w, step_size, y)
        loss = 0.5 * (product_and_others(new)[0] - 1) ** 2
        allowed = allowed * rate
        slowest = jnp.maximum(slowest, jnp.where(loss > SETTLED, loss / allowed, 0.0))
        return new, loss, allowed, slowest, i + 1

    w, loss, _, slowest, _ = jax.lax.while_loop(
        unfinished, body, (w, first, first, jnp.zeros_like(first), jnp.asarray(0, jnp.int32))
    )
    final = solve_coordinates_first(w, y)
    slack = final.error + 1e-9 * final.sharpness  # the run's own rounding
    inside = final.sharpness >= condition.lower - slack
    inside &= final.sharpness <= condition.upper + slack
    used = (condition.upper - final.sharpness) / (condition.upper - condition.lower + slack)
    return Runs(condition.holds, loss <= SETTLED, inside, used, slowest)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=14_000)
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)

    start = time.perf_counter()
    number = -(-options.runs // len(DEPTHS))
    met, used, slowest = 0, 0.0, 0.0
    for depth in DEPTHS:
        runs = simulate(jax.random.key(depth), depth, number)
        holds = runs.met
        assert bool(jnp.all(runs.settled[holds])), f"depth {depth}: a run did not settle"
        assert bool(jnp.all(runs.inside[holds])), f"depth {depth}: outside the bracket"
        met += int(jnp.sum(holds))
        used = max(used, float(jnp.max(jnp.where(holds, runs.used, 0.0))))
        slowest = max(slowest, float(jnp.max(jnp.where(holds, runs.slowest, 0.0))))
    assert slowest <= 1 + 1e-9, "the loss fell more slowly than proved"
    print(f"{met} runs met the condition, in {time.perf_counter() - start:.0f} s: all inside")
    print(
        f"largest part of the bracket used {used:.2f}; loss over proved rate at most {slowest:.3f}"
    )


if __name__ == "__main__":
    main()
