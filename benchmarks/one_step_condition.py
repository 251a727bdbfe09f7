"""Search for counterexamples to the one-step conditions of scalar networks.

Run::

    python benchmarks/one_step_condition.py [--points 12000000]

Starts of depths 2 to 20 with products from 1e-4 to 30, spread over orders of magnitude or nearly
balanced, with step sizes up to and around what each condition allows. The proved conditions (the
gap condition, and `η φ ≤ 2√2` with every sign kept) must survive; with `4` in the place of `2√2`
there must be counterexamples, or the search is too weak to mean anything.
"""

import argparse
import math
import time
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from thalweg.scalar.conditions import one_step_condition
from thalweg.scalar.descent import gradient_step
from thalweg.scalar.flow_limit import solve_coordinates_first

DEPTHS = (2, 3, 4, 5, 7, 10, 20)
CHUNK = 2_000


class Counts(NamedTuple):
    """How many points met each condition, and at how many of them `φ` rose for certain."""

    gap: Array
    gap_rises: Array
    sharpness: Array
    sharpness_rises: Array
    beyond_the_gap: Array  # met the sharpness condition, not the gap condition
    loose: Array  # η φ ≤ 4 in the place of 2√2
    loose_rises: Array


def sample(key: Array, depth: int, number: int) -> tuple[Array, Array]:
    """Return positive starts `(depth, number)` and `η φ(w)`, half of it close to `2√2` or to 4."""
    keys = jax.random.split(key, 6)
    spread = 10 ** jax.random.uniform(keys[0], (number,), minval=-2.0, maxval=0.5)
    logs = spread[None] * jax.random.normal(keys[1], (depth, number))
    log_product = jax.random.uniform(keys[2], (number,), minval=math.log(1e-4), maxval=math.log(30))
    w = jnp.exp(logs + (log_product - jnp.sum(logs, axis=0))[None] / depth)
    steep = jax.random.uniform(keys[3], (number,), minval=0.05, maxval=4.0)
    near = jnp.where(jax.random.bernoulli(keys[4], 0.5, (number,)), 2 * math.sqrt(2), 4.0)
    near = near * (1 - 0.02 * jax.random.uniform(keys[5], (number,)))
    return w, jnp.where(jnp.arange(number) % 2 == 0, steep, near)


@partial(jax.jit, static_argnums=(1, 2))
def search(key: Array, depth: int, chunks: int) -> Counts:
    """Return the counts over `chunks` chunks of points."""

    def one(key: Array) -> Counts:
        w, steep = sample(key, depth, CHUNK)
        y = jnp.ones(())
        before = solve_coordinates_first(w, y)
        step_size = steep / before.sharpness
        new, _ = gradient_step(w, step_size, y)
        after = solve_coordinates_first(new, y)
        # The step itself is rounded: so a rise counts if it is above the bars and 1e-9.
        bars = before.error + after.error + 1e-9 * before.sharpness
        rises = ~after.is_saddle & (after.sharpness > before.sharpness + bars)
        found = one_step_condition(w.T, step_size)
        loose = (steep <= 4.0) & found.signs.holds
        cases = (found.by_gap, found.by_sharpness, loose)
        met = [jnp.sum(case) for case in cases]
        risen = [jnp.sum(case & rises) for case in cases]
        beyond = jnp.sum(found.by_sharpness & ~found.by_gap)
        return Counts(met[0], risen[0], met[1], risen[1], beyond, met[2], risen[2])

    return jax.tree.map(jnp.sum, jax.lax.map(one, jax.random.split(key, chunks)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=12_000_000)
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)

    start = time.perf_counter()
    chunks = -(-options.points // (CHUNK * len(DEPTHS)))
    keys = jax.random.split(jax.random.key(0), len(DEPTHS))
    each = [search(key, depth, chunks) for key, depth in zip(keys, DEPTHS, strict=True)]
    total = Counts(*(sum(int(count) for count in counts) for counts in zip(*each, strict=True)))
    print(f"{chunks * CHUNK * len(DEPTHS)} points in {time.perf_counter() - start:.0f} s")
    print(f"gap condition:       {total.gap} points, {total.gap_rises} rises")
    print(f"sharpness condition: {total.sharpness} points, {total.sharpness_rises} rises")
    print(f"  of these beyond the gap condition: {total.beyond_the_gap}")
    print(f"with 4 for 2√2:      {total.loose} points, {total.loose_rises} rises")
    assert total.gap_rises == 0, "the gap condition has a counterexample"
    assert total.sharpness_rises == 0, "the sharpness condition has a counterexample"
    assert total.loose_rises > 0, "too weak a search: the constant 4 survived it"


if __name__ == "__main__":
    main()
