# %% [markdown]
# # Scalar networks and certificates
#
# A product of $D$ numbers fitted to one, $L(w) = \tfrac12(\pi(w) - 1)^2$.
# Gradient flow conserves the differences $w_i^2 - w_j^2$, so that its limit is
# the root of one equation, for one start or millions.

# %%
import jax
import numpy as np

import thalweg as tw

jax.config.update("jax_enable_x64", True)

network = tw.ScalarNetwork(depth=5)
rng = np.random.default_rng(0)
starts = rng.uniform(0.2, 2.0, (100_000, 5))
found = network.flow_limits(starts)
bars = found.error / found.sharpness
print(f"{len(starts):,} flows; largest relative error bar {bars.max():.0e}")
print("balances before and after:")
print(np.asarray(network.balances(starts[0])).round(12))
print(np.asarray(network.balances(found.limit[0])).round(12))

# %% [markdown]
# At a minimum $\varphi = \sum_i 1/S_i^2 \ge D$, with equality where all are
# equal:

# %%
print(
    "smallest φ:",
    found.sharpness.min().round(4),
    " at the minimum of equal numbers:",
    5.0,
)

# %% [markdown]
# ## Depth two, in the plane
#
# Minima are the hyperbola $w_1 w_2 = 1$. Flow lines are hyperbolas too, φ is
# constant along them, and gradient descent zigzags across the minima towards
# the flatter ones.

# %%
from thalweg.experiments import ScalarPlane

dataset, runs = ScalarPlane(
    init=(1.9, 0.45), step_size=(0.6,), steps=40
).compute()
figure = tw.figures.plot(
    dataset.assign_attrs(experiment="depth two", figure="scalar-plane")
)
figure

# %% [markdown]
# ## One run, certified
#
# Three theorems ([with proofs](../scalar-networks.md)) say when a step cannot
# raise φ, and when a run converges, and to which sharpness. `certify` checks
# their hypotheses along a run.

# %%
certificate = tw.certify([2.0, 1.5, 1.0, 0.7, 0.3], step_size=0.28, steps=1000)
print(certificate)

# %% [markdown]
# In float64 the iterates themselves are rounded, and the certificate says so.
# In ball arithmetic every established statement is a proof for this very
# trajectory (extra `rigorous`):

# %%
proof = tw.certify(
    [2.0, 1.5, 1.0, 0.7, 0.3], step_size=0.28, steps=1000, rigorous=True
)
print(proof.final_sharpness.statement)
print(proof.final_sharpness.basis, f"({proof.bits} bits)")

# %% [markdown]
# What is not established says what is missing, at which step, and by how much.
# Here φ rises, which is proved as well:

# %%
print(tw.certify([2.4, 2.2], step_size=0.45, steps=40).monotone)

# %% [markdown]
# ## Where do runs end?
#
# A sweep over starts and step sizes. Runs whose loss was not monotone end just
# under $2/\eta$: that is the edge of stability.

# %%
sizes = np.array([0.15, 0.25, 0.35])
sweep = tw.scalar_sweep(starts[:5000], sizes, steps=2000, gfs_every=1)
for size, counts in zip(sizes, sweep.counts(), strict=True):
    named = {
        outcome.name: int(n)
        for outcome, n in zip(tw.ScalarOutcome, counts, strict=True)
        if n
    }
    print(size, named)
edge = sweep.outcome == tw.ScalarOutcome.EDGE_OF_STABILITY
scaled = (sizes[:, None] * sweep.sharpness)[edge]
print(
    f"η times the final sharpness, at the edge: median {np.median(scaled):.3f}"
)
print(
    "steps that raise φ:",
    int(sweep.rises.sum()),
    "of",
    int((sweep.falls + sweep.rises).sum()),
)
