"""Bring your own JAX loss: three layers of two units each, at the edge of stability."""

import jax
import jax.numpy as jnp

import thalweg as tw

jax.config.update("jax_enable_x64", True)  # thalweg never does this for you


def loss(w):  # from any pytree to a scalar
    return 0.5 * jnp.sum((w["a"] * w["b"] * w["c"] - jnp.array([1.0, 0.5])) ** 2)


w = {"a": jnp.array([3.0, 1.0]), "b": jnp.array([1.0, 0.5]), "c": jnp.array([0.3, 0.3])}
flow = tw.gradient_flow_solution(loss, w)
print(f"{flow.sharpness:.5g} ± {flow.sharpness_error:.1g}: {flow.status.advice}")
measured = [tw.Sharpness(every=1), tw.GFSSharpness(every=10)]
run = tw.descend(loss, w, step_size=0.2, steps=30, measurements=measured).dataset.isel(run=0)
print(tw.monotonicity(run["gfs_sharpness"], run["gfs_sharpness_error"]).verdict)
