"""Bring your own model: an equinox module on data, at the edge of stability."""

import equinox as eqx
import jax
import jax.numpy as jnp

import thalweg as tw

jax.config.update("jax_enable_x64", True)  # thalweg never does this for you

x = jnp.linspace(-1.0, 1.0, 8)[:, None]
y = jnp.sin(3 * x)
model = eqx.nn.MLP(1, 1, width_size=16, depth=2, activation=jnp.tanh, key=jax.random.key(0))

problem = tw.Supervised(lambda model, x: jax.vmap(model)(x), x, y)
step_size = 0.16
measured = [tw.Sharpness(every=50), tw.GFSSharpness(every=1000, start=1000)]
run = tw.descend(problem, model, step_size=step_size, steps=4000, measurements=measured)
data = run.dataset.isel(run=0)
print(run.w[0])  # a module again, trained
for step in data["gfs_step"].values:
    at = data.sel(gfs_step=step)
    value, error = float(at["gfs_sharpness"]), float(at["gfs_sharpness_error"])
    print(f"step {step}: GFS sharpness {value:.5g} ± {error:.1g}, 2/η {2 / step_size:.5g}")
