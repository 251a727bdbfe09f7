# %% [markdown]
# # A figure for a paper
#
# Figures are drawn from stored results and compute nothing, so that a figure
# can be changed without running anything again. Here: a run with two step
# sizes, its ready-made figure, and one of your own.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt

import thalweg as tw

jax.config.update("jax_enable_x64", True)

network = tw.ScalarNetwork(depth=4)
start = jnp.array([3.0, 1.5, 0.4, 0.2])
measured = [tw.Sharpness(every=1), tw.GFSSharpness(every=2)]
run = tw.descend(
    network, start, step_size=[0.2, 0.25], steps=120, measurements=measured
)
dataset = run.dataset
dataset

# %% [markdown]
# ## The ready-made figure
#
# `tw.figures.plot` returns a matplotlib figure: save it in any format that
# matplotlib writes. (From the command line: `thalweg plot DIR` draws that of a
# run folder.)

# %%
figure = tw.figures.plot(dataset, width=6.75)
figure.savefig("run.pdf")
figure

# %% [markdown]
# From a run folder the data are `tw.results.load("runs/two").dataset`.
#
# ## One of your own
#
# One column wide (3.25 inches), φ over its threshold with error bars, for both
# step sizes. Values whose flow failed are NaN, so that lines break there by
# themselves.

# %%
paper = {"font.size": 8, "axes.spines.top": False, "axes.spines.right": False}
with plt.rc_context(paper):
    figure, axes = plt.subplots(figsize=(3.25, 2.2), layout="constrained")
    for number, size in enumerate(dataset["step_size"].values):
        data = dataset.isel(run=number)
        line = axes.errorbar(
            data["gfs_step"],
            data["gfs_sharpness"] / data["threshold"],
            yerr=data["gfs_sharpness_error"] / data["threshold"],
            marker=".",
            markersize=3,
            linewidth=0.8,
            label=rf"$\varphi\,/\,(2/\eta)$, $\eta = {size:g}$",
        )
        axes.plot(
            data["sharpness_step"],
            data["sharpness"] / data["threshold"],
            color=line.lines[0].get_color(),
            linewidth=0.5,
            alpha=0.5,
        )
    axes.axhline(1, color="black", linestyle="--", linewidth=0.8)
    axes.set(
        xlabel="step of gradient descent",
        ylabel="in units of $2/\\eta$",
        ylim=(0.4, 1.6),
    )
    axes.legend(frameon=False)
figure.savefig("phi.pdf")

# %% [markdown]
# ## What to say in the caption
#
# The numbers that a caption needs are those of the verdict:

# %%
for number, size in enumerate(dataset["step_size"].values):
    data = dataset.isel(run=number)
    found = tw.monotonicity(
        data["gfs_sharpness"],
        data["gfs_sharpness_error"],
        at=data["gfs_step"].values,
    )
    print(
        f"η = {size:g}: {found.verdict}; "
        f"{found.falls} falls, {found.rises} rises, {found.undecided} open "
        f"(none above {found.largest_possible_rise:.0e}); "
        f"net fall {found.net_fall.size:.4f} ± {found.net_fall.error:.0e}"
    )
