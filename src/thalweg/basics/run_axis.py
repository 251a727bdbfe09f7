"""Results over seeds, starts or step sizes, with runs as their one axis besides steps."""

from collections.abc import Hashable
from typing import Any

import xarray as xr

_OF_RUNS = ("step_size", "threshold", "depth", "seed", "start")


def as_runs(dataset: xr.Dataset) -> xr.Dataset:
    """Return results with the dimension `run` in place of all that `loss` has besides `step`.

    So `xr.concat([of_seed_0, of_seed_1], pd.Index([0, 1], name="seed"))` is two runs, or more, each
    called by its seed. Marked steps, which are numbered by runs, are left out then.

    >>> one = xr.Dataset({"loss": (("run", "step"), [[2.0, 1.0]])}, {"step_size": ("run", [0.1])})
    >>> both = as_runs(xr.concat([one, one], xr.Variable("seed", [3, 5])))
    >>> both["loss"].shape, both["step_size"].values
    ((2, 2), array([0.1, 0.1]))
    """
    if "loss" not in dataset:
        return dataset
    axes: list[Hashable] = [axis for axis in dataset["loss"].dims if axis != "step"]
    if axes == ["run"]:
        return dataset.transpose("run", ...)
    if not axes:
        dataset, axes = dataset.expand_dims("run"), ["run"]
    dataset = dataset.drop_dims("mark", errors="ignore").drop_vars("run", errors="ignore")
    known: dict[str, Any] = {n: dataset[n] for n in _OF_RUNS if n in dataset.variables}
    sizes = {axis: dataset.sizes[axis] for axis in axes}
    spread = {
        name: (axes, variable.variable.set_dims(sizes).data, variable.attrs)
        for name, variable in known.items()
    }
    rest = dataset.drop_vars(list(known)).assign(spread)
    stacked = rest.stack({"all runs": axes}, create_index=False).rename({"all runs": "run"})
    return stacked.set_coords(list(known)).transpose("run", ...)
