"""Cross-entropy beside the squared loss, and weight decay: one network, four losses.

    python examples/cross_entropy.py FOLDER     # minutes on two cores

Each loss is descended at two step sizes, one below the edge of stability and one at it. Where it
has a minimiser, the GFS sharpness is measured; cross-entropy has none on data that can be
separated, and there the truncated sharpness is: that where the flow first reaches one loss level.
Runs go to folders in FOLDER, which `thalweg plot` draws, and the figure of all to FOLDER too.
"""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
from matplotlib.figure import Figure

import thalweg as tw

LEVEL = 1e-3
DECAY = 0.003
STEPS = 500
MULTIPLES = (0.5, 1.2)  # step sizes, in units of 2 / sharpness at the start
SCHEDULE = {"at": (0, 2, 10, 50, 200), "rtol": 1e-3}


def decayed(problem):
    """Return the loss with the term of weight decay, `½ DECAY |w|²`."""

    def loss(w):
        return problem(w) + 0.5 * DECAY * sum(jnp.vdot(leaf, leaf) for leaf in jax.tree.leaves(w))

    return loss


def losses():
    """Return the start, and the losses by name."""
    x, y = tw.data.training_data(tw.data.load_images("digits"), samples=20, image_size=8)
    w = tw.models.mlp_init(jax.random.key(0), (64, 16, 10))
    squared = tw.Supervised(tw.models.mlp, x.reshape(len(x), -1), y)
    entropy = tw.Supervised(tw.models.mlp, squared.x, y, loss="cross_entropy")
    return w, {
        "squared": squared,
        "squared, decay": decayed(squared),
        "cross-entropy": entropy,
        "cross-entropy, decay": decayed(entropy),
    }


def tell(name, run, quantity):
    """Print what became of the quantity, and of the sharpness, in units of 2/η."""
    values, errors = run[quantity].values, run[f"{quantity}_error"].values
    found, edge = tw.monotonicity(values, errors, at=run[run[quantity].dims[0]]), run["threshold"]
    rise = found.largest_rise
    print(
        f"{name}, step size {float(run['step_size']):.4g}, 2/η = {float(edge):.4g}: {quantity} "
        f"{values[0]:.5g} to {values[-1]:.5g} (± {errors[-1]:.1g}), {found.verdict}"
        f"{f', rises by {100 * rise.relative:.2g} % between {rise.between}' if rise else ''}; "
        f"sharpness at most {float(run['sharpness'].max() / edge):.3g}, at the end "
        f"{float(run['sharpness'][-1] / edge):.3g} of 2/η; loss {float(run['loss'][-1]):.2g}",
        flush=True,
    )


def draw(runs):
    """Draw loss, sharpness and quantity of the larger step size, a column for each loss."""
    figure = Figure((11.0, 4.2), layout="constrained")
    panels = figure.subplots(2, len(runs), sharex=True)
    for (name, (dataset, quantity)), (above, below) in zip(runs.items(), panels.T, strict=True):
        run = dataset.isel(run=-1)
        above.semilogy(run["step"], run["loss"])
        above.set_title(name, fontsize=10)
        below.semilogy(run["sharpness_step"], run["sharpness"], color="0.6", label="sharpness")
        at = run[run[quantity].dims[0]]
        below.semilogy(
            at, run[quantity], "o-", label=quantity.replace("_", " ").replace("gfs", "GFS")
        )
        below.axhline(float(run["threshold"]), color="0.3", linestyle="--", label="2/η")
        below.set_xscale("symlog", linthresh=1)
        below.set(xlabel="step")
        below.legend(frameon=False, fontsize=7)
    panels[0, 0].set_ylabel("loss")
    return figure


def main(folder):
    jax.config.update("jax_enable_x64", True)
    w, problems = losses()
    drawn = {}
    for name, problem in problems.items():
        if name == "cross-entropy":
            quantity, flow = "truncated_sharpness", tw.TruncatedSharpness(level=LEVEL, **SCHEDULE)
        else:
            quantity, flow = "gfs_sharpness", tw.GFSSharpness(**SCHEDULE)
        sizes = [multiple * 2 / tw.sharpness(problem, w) for multiple in MULTIPLES]
        measured = [tw.Sharpness(every=10), flow]
        run = tw.descend(problem, w, step_size=sizes, steps=STEPS, measurements=measured)
        tw.save(run, folder / name.replace(", ", "-"), name=name, overwrite=True)
        for number in range(len(sizes)):
            tell(name, run.dataset.isel(run=number), quantity)
        drawn[name] = run.dataset, quantity
    draw(drawn).savefig(folder / "cross_entropy.png", dpi=150)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
