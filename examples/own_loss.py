"""Bring your own JAX loss: a two-layer linear network at the edge of stability."""

import jax
import jax.numpy as jnp

import thalweg as tw

jax.config.update("jax_enable_x64", True)  # thalweg never does this for you

target = jnp.diag(jnp.array([1.0, 0.5, 0.2]))
loss = lambda w: 0.5 * jnp.sum((w["second"] @ w["first"] - target) ** 2)  # any pytree -> scalar
keys = jax.random.split(jax.random.key(0))
w = {"first": 2 * jax.random.normal(keys[0], (3, 3)), "second": jax.random.normal(keys[1], (3, 3))}
flow = tw.gradient_flow_solution(loss, w)
print(f"GFS sharpness {flow.sharpness:.5g} ± {flow.sharpness_error:.1g}: {flow.status.advice}")
eta = 2 / (0.9 * flow.sharpness)  # the flow ends above the threshold 2 / eta: GD cannot stay there
measurements = [tw.Sharpness(every=1), tw.GFSSharpness(every=10)]
run = tw.descend(loss, w, step_size=eta, steps=60, measurements=measurements)
print(run.dataset["threshold"].values, run.dataset["gfs_sharpness"].values)
print(tw.monotonicity(run.dataset["gfs_sharpness"][0], run.dataset["gfs_sharpness_error"][0]))
