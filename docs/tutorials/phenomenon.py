# %% [markdown]
# # The phenomenon
#
# Gradient descent with a large step size, on the smallest network there is: a
# product of four numbers that is to be one, $L(w) = \tfrac12 (w_1 w_2 w_3 w_4 -
# 1)^2$. Everything about it has a closed form, so that every number here has an
# error bar near rounding.

# %%
import jax
import jax.numpy as jnp

import thalweg as tw

jax.config.update("jax_enable_x64", True)

network = tw.ScalarNetwork(depth=4)
start = jnp.array([3.0, 1.5, 0.4, 0.2])
print(f"loss {network(start):.4f}, sharpness {network.sharpness(start):.4f}")

# %% [markdown]
# ## Where would gradient flow end?
#
# Follow $\dot w = -\nabla L(w)$ from the start to a minimum: its sharpness
# there is the GFS sharpness $\varphi$ of the start.

# %%
flow = tw.gradient_flow_solution(network, start)
print(
    f"φ = {flow.sharpness:.10f} ± {flow.sharpness_error:.0e}, by {flow.method}"
)
print(flow.w)

# %% [markdown]
# ## A step size too large for that minimum
#
# Gradient descent can only settle at a minimum of sharpness below $2/\eta$.
# With $\eta = 0.25$ that is 8, and the flow's minimum has 10.2: gradient
# descent has to go elsewhere.

# %%
measured = [tw.Sharpness(every=1), tw.GFSSharpness(every=2)]
run = tw.descend(
    network, start, step_size=0.25, steps=200, measurements=measured
)
tw.figures.plot(run.dataset)

# %% [markdown]
# The loss jumps up and down; the sharpness overshoots the line and oscillates.
# But the third panel falls, at every step: φ is what orders this run. The
# verdict says how far that can be believed.

# %%
data = run.dataset.isel(run=0)
verdict = tw.monotonicity(
    data["gfs_sharpness"],
    data["gfs_sharpness_error"],
    at=data["gfs_step"].values,
)
print(verdict.verdict)
print(f"{verdict.falls} falls, {verdict.rises} rises, {verdict.undecided} open")
print(f"net fall: {verdict.net_fall.size:.6f} ± {verdict.net_fall.error:.0e}")
φ = float(data["gfs_sharpness"][-1])
print(f"φ ends at {φ:.5f}, just under 2/η = {float(data['threshold']):g}")

# %% [markdown]
# Longer runs end with open steps: gradient descent has converged, and nothing
# moves beyond rounding.
#
# ## A smaller step size
#
# At $\eta = 0.15$, $2/\eta = 13.3$ is above the sharpness of the flow's
# minimum. Nothing forces gradient descent away: it follows the flow closely,
# and φ stays nearly constant.

# %%
gentle = tw.descend(
    network, start, step_size=0.15, steps=100, measurements=measured
)
values = gentle.dataset["gfs_sharpness"].isel(run=0)
print(f"φ from {float(values[0]):.4f} to {float(values[-1]):.4f}")

# %% [markdown]
# ## It can rise
#
# That φ falls is a finding, not a law. From this start the first step is so
# long that it lands beyond the opposite branch of minima, and it *raises* φ, by
# far more than any error bar:

# %%
pair = tw.ScalarNetwork(depth=2)
run = tw.descend(
    pair,
    jnp.array([2.4, 2.2]),
    step_size=0.45,
    steps=40,
    measurements=tw.GFSSharpness(every=1),
)
data = run.dataset.isel(run=0)
rising = tw.monotonicity(data["gfs_sharpness"], data["gfs_sharpness_error"])
print(rising.verdict)
print("φ at the first steps:", data["gfs_sharpness"].values[:4].round(4))
print("largest rise:", rising.largest_rise)

# %% [markdown]
# When it cannot rise is a theorem for these networks: [scalar
# networks](../scalar-networks.md), and [the tutorial on
# certificates](certificates.py).
#
# ## A network with data
#
# The same along a tanh network on a few points of a sine. Now flows are
# integrated, and their bars are estimates.

# %%
x = jnp.linspace(-1.0, 1.0, 8)[:, None]
y = jnp.sin(3 * x)
w = tw.models.mlp_init(jax.random.key(0), (1, 16, 16, 1))
problem = tw.Supervised(tw.models.mlp, x, y)
measured = [tw.Sharpness(every=25), tw.GFSSharpness(every=100)]
run = tw.descend(problem, w, step_size=0.16, steps=1500, measurements=measured)
print(
    f"sharpness at the start {tw.sharpness(problem, w):.3f}, 2/η = {2 / 0.16:g}"
)
tw.figures.plot(run.dataset)

# %% [markdown]
# The sharpness climbs to $2/\eta$, and until it is there gradient descent
# follows the flow: φ hardly changes. Then the loss has a peak, and φ rises with
# it, by two per cent. At a step size of 0.4 it has come down to 18 after as
# many steps, past flows that are too slow to settle. [When φ
# rises](../rises.md) has runs of every setting.
