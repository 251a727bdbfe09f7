# %% [markdown]
# # Gallery
#
# Every kind of figure, drawn here from small runs that take seconds; the
# command that makes each one at full size stands above it.

# %%
import jax

from thalweg import figures
from thalweg.experiments import (
    ScalarBifurcation,
    ScalarDepths,
    ScalarPlane,
    ScalarSweepStudy,
)

jax.config.update("jax_enable_x64", True)


def drawn(study):
    """Compute a study, and draw it."""
    dataset, _ = study.compute()
    return figures.plot(
        dataset.assign_attrs(title=study.title, figure=study.figure)
    )


# %% [markdown]
# ## A run
#
# `thalweg run scalar --out DIR`: loss, sharpness, and GFS sharpness φ against
# $2/\eta$.

# %%
import thalweg as tw

network, start = (
    tw.ScalarNetwork(depth=4),
    jax.numpy.array([3.0, 1.5, 0.4, 0.2]),
)
measured = [tw.Sharpness(every=1), tw.GFSSharpness(every=2)]
run = tw.descend(
    network, start, step_size=0.25, steps=200, measurements=measured
)
figures.plot(run.dataset)

# %% [markdown]
# ## Several step sizes
#
# `thalweg run scalar --out DIR --step-size 0.15 0.2 0.25`

# %%
run = tw.descend(
    network,
    start,
    step_size=[0.15, 0.2, 0.25],
    steps=100,
    measurements=measured,
)
figures.plot(run.dataset)

# %% [markdown]
# Of more than four, or in one column of a paper, sharpnesses are in units of
# $2/\eta$.

# %%
figures.plot(run.dataset, width=3.25, title="")

# %% [markdown]
# ## Several depths
#
# `thalweg run scalar-depths --out DIR`; and `thalweg plot DIR DIR --out FIGURE`
# draws any results side by side, as of several architectures.

# %%
drawn(ScalarDepths(steps=100))

# %% [markdown]
# ## Four architectures
#
# [![Four architectures side by
# side](assets/architectures.png)](assets/architectures.png)
#
# Drawn from stored results; the runs take some eight minutes on two cores:
#
# ```sh
# thalweg run network --architecture mlp --out mlp --step-size 0.25 0.5 \
#   --init-scale 0.5 --steps 600 --gfs-every 60 --sharpness-every 5
# thalweg run network --architecture vgg --out vgg --step-size 0.075 0.17 \
#   --samples 20 --steps 900 --gfs-every 90 --sharpness-every 5
# thalweg run network --architecture resnet --out resnet --widths 6 12 \
#   --samples 20 --image-size 4 --step-size 0.08 0.19 --steps 600 \
#   --gfs-every 60 --sharpness-every 5
# thalweg run network --architecture transformer --out transformer \
#   --samples 20 --patch 4 --init-scale 0.7 --step-size 0.05 0.16 --steps 900 \
#   --gfs-every 90 --sharpness-every 5
# thalweg plot mlp vgg resnet transformer --out architectures
# ```

# %% [markdown]
# ## The plane of two parameters
#
# `thalweg run scalar-plane --out DIR`: flow lines, along which φ is constant,
# the minima, and a descent that zigzags across them.

# %%
drawn(ScalarPlane())

# %% [markdown]
# ## Where runs end
#
# `thalweg run scalar-sweep --out DIR`: outcomes of descents from many starts,
# by step size, and the sharpness at which they end. Those at the edge end just
# under $2/\eta$.

# %%
drawn(ScalarSweepStudy(depth=(2, 3), step_sizes=40, starts=300, steps=2000))

# %% [markdown]
# ## Past the last minimum
#
# `thalweg run scalar-bifurcation --out DIR`: period doubling and chaos.

# %%
drawn(ScalarBifurcation(step_sizes=400, steps=10_000))

# %% [markdown]
# The figures of networks are those of runs; the one on the [first
# page](index.md) is that of `make demo`.
