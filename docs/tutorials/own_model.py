# %% [markdown]
# # Your JAX model
#
# A model is a function of parameters and inputs. Here it is written by hand; an
# Equinox module or flax's `apply` go the same way ([your own
# model](../own-models.md)).

# %%
import jax
import jax.numpy as jnp

import thalweg as tw

jax.config.update(
    "jax_enable_x64", True
)  # before the parameters are made: their dtype decides

x = jnp.linspace(-1.0, 1.0, 8)[:, None]
y = jnp.sin(3 * x)


def predict(w, x):
    hidden = jnp.tanh(x @ w["in"] + w["bias"])
    return jnp.tanh(hidden @ w["middle"]) @ w["out"]


keys = jax.random.split(jax.random.key(1), 3)
w = {
    "in": 2 * jax.random.normal(keys[0], (1, 12)),
    "bias": jnp.zeros(12),
    "middle": jax.random.normal(keys[1], (12, 12)) / 12**0.5,
    "out": jax.random.normal(keys[2], (12, 1)) / 12**0.5,
}

# %% [markdown]
# Model and data make a problem; `loss` may be `"squared"` (the default),
# `"cross_entropy"`, or any function of outputs and targets.

# %%
problem = tw.Supervised(predict, x, y)
print(f"loss {problem(w):.4f}, sharpness {tw.sharpness(problem, w):.4f}")

# %% [markdown]
# ## One flow
#
# The answer carries its error bar, how it ended, what it cost (in gradients)
# and which method it took.

# %%
flow = tw.gradient_flow_solution(problem, w)
print(f"φ = {flow.sharpness:.5f} ± {flow.sharpness_error:.1g}")
print(flow.status.name, "—", flow.status.advice)
print(f"{flow.gradient_evaluations:.0f} gradients, {flow.method}")
print(f"loss at the end {flow.loss:.1e}; flow.w is as w: {sorted(flow.w)}")

# %% [markdown]
# ## Along gradient descent
#
# Choose a step size by the sharpness: above, `2 / step_size` has to come into
# its reach for the edge of stability to be seen. φ of the start is where the
# sharpness would go without it.

# %%
step_size = 2 / (0.8 * flow.sharpness)
measured = [tw.Sharpness(every=20), tw.GFSSharpness(every=100, also=(10, 50))]
run = tw.descend(
    problem, w, step_size=step_size, steps=1500, measurements=measured
)
print(
    run.status[0].value,
    "after",
    run.steps[0],
    "steps;",
    f"{run.gradient_evaluations:.0f} gradients",
)
tw.figures.plot(run.dataset)

# %% [markdown]
# ## The numbers
#
# Everything is in one `xarray.Dataset`, `run` first, each quantity with its own
# steps.

# %%
data = run.dataset.isel(run=0)
data[
    ["gfs_sharpness", "gfs_sharpness_error", "gfs_status"]
].to_dataframe().round(5).head(8)

# %%
verdict = tw.monotonicity(
    data["gfs_sharpness"],
    data["gfs_sharpness_error"],
    at=data["gfs_step"].values,
)
print(verdict.verdict)
print("largest rise:", verdict.largest_rise)
print("net fall:", verdict.net_fall)
print("decreasing from step", verdict.decreasing_from)

# %% [markdown]
# ## A quantity of your own
#
# Any number that is a function of the problem and of `w`, here the distance
# from the start:


# %%
def distance(problem, at):
    squares = jax.tree.map(lambda a, b: jnp.sum((a - b) ** 2), at, w)
    return jnp.sqrt(sum(jax.tree.leaves(squares)))


measured = [
    tw.Quantity(
        "distance", distance, every=50, long_name="distance from the start"
    )
]
run = tw.descend(
    problem, w, step_size=step_size, steps=200, measurements=measured
)
print(run.dataset["distance"].isel(run=0).values.round(3))

# %% [markdown]
# ## When there is no answer
#
# With a budget that is too small the flow does not settle. That is no
# exception, and no number that could be taken for one: the status says what to
# change.

# %%
short = tw.gradient_flow_solution(problem, w, max_gradient_evaluations=50)
print(short.converged, short.status.name)
print(short.status.advice)
