"""A small network whose GFS sharpness is measured in the background, and told as it is found."""

from collections.abc import Callable
from threading import Event, Thread
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from thalweg.descent import GFSSharpness, Measurement, Progress, Sharpness, descend
from thalweg.models import mlp, mlp_init
from thalweg.problems import Supervised


def sine_network() -> tuple[Supervised, Any]:
    """Return a tanh network of 337 parameters on eight points of a sine, and its start."""
    x = jnp.linspace(-1.0, 1.0, 8)[:, None]
    return Supervised(mlp, x, jnp.sin(3 * x)), mlp_init(jax.random.key(0), (1, 16, 16, 1))


def follow(
    step_size: float, receive: Callable[[xr.Dataset], None], *, steps: int, every: int
) -> Callable[[], None]:
    """Descend in a thread of its own, and return what stops it.

    `receive` is called in that thread, with everything measured so far, after every measurement
    of the GFS sharpness and at the end.
    """
    stopped = Event()

    def run() -> None:
        problem, start = sine_network()
        measured: list[Measurement] = [
            GFSSharpness(every=every),
            Sharpness(every=max(every // 5, 1)),
        ]
        known = 0

        def report(progress: Progress) -> bool:
            nonlocal known
            if progress.dataset is not None and progress.readings > known:
                known = progress.readings
                receive(progress.dataset().isel(run=0).copy(deep=True))  # it is still written to
            return stopped.is_set()

        done = descend(
            problem, start, step_size=step_size, steps=steps, measurements=measured, report=report
        )
        if not stopped.is_set():
            receive(done.dataset.isel(run=0))

    Thread(target=run, daemon=True).start()
    return stopped.set


def along(dataset: xr.Dataset) -> dict[str, Any]:
    """Return the columns of the panels, at the steps where the GFS sharpness is known."""
    at = dataset.dropna("gfs_step", subset=["gfs_sharpness"])
    steps = at["gfs_step"].values
    known = dataset["sharpness"].dropna("sharpness_step")
    return {
        "step": steps,
        "loss": dataset["loss"].reindex(step=steps).values,
        "sharpness": known.reindex(sharpness_step=steps).values,
        "gfs_sharpness": at["gfs_sharpness"].values,
        "error": at["gfs_sharpness_error"].values,
        "note": np.full(len(steps), "measured: its flow was integrated", dtype=object).tolist(),
    }
