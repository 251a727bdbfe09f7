"""A configuration as `config.json` holds it, back from there, and as a command line."""

import dataclasses
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from thalweg.basics.checks import fitted
from thalweg.runs.experiment import Experiment
from thalweg.runs.folder import CONFIG, RunFolder
from thalweg.runs.strict_json import as_read

SIZES = {"step_size", "relative_step_size", "paired"}


def stored(config: Experiment) -> dict[str, Any]:
    """Return what `config.json` holds, as it is read back."""
    read: dict[str, Any] = as_read(
        {"experiment": config.name, **fitted(type(config), vars(config))}
    )
    return read


def experiment_of(content: Mapping[str, Any], known: Mapping[str, type[Experiment]]) -> Experiment:
    """Return the configuration whose `config.json` holds `content`, or raise a ValueError.

    Nothing in it is trusted: names, options and values have to belong there.

    >>> from thalweg.experiments import EXPERIMENTS
    >>> experiment_of({"experiment": "scalar", "steps": 7}, EXPERIMENTS).steps
    7
    """
    options = dict(content)
    if "measurements" in options:
        raise ValueError(
            "the run is one that a program of yours measures (thalweg.Along, measure_along): start "
            "that program again, with the same folder, and it goes on from there"
        )
    name = options.pop("experiment", None)
    if not isinstance(name, str) or name not in known:
        raise ValueError(f"the configuration names no known experiment but {name!r}")
    kind = known[name]
    unknown = sorted(set(options) - {field.name for field in dataclasses.fields(kind)})
    if unknown:
        raise ValueError(f"the configuration has the unknown option {unknown[0]!r}")
    config = kind(**fitted(kind, options))
    config.check()
    return config


def is_run_of(config: Experiment, folder: Path, known: Mapping[str, type[Experiment]]) -> bool:
    """Whether a folder holds a run, which then is that of this configuration.

    Step sizes that were left to be chosen, or relative, are the numbers that they became, each
    paired with its seed. Raises a ValueError that names an option where it is the run of another
    configuration.
    """
    if not (folder / CONFIG).is_file():
        return False
    asked = stored(config)
    there = stored(experiment_of(RunFolder.open(folder).read_config(), known))
    chosen = set() if asked.get("step_size") and not asked.get("relative_step_size") else SIZES
    for one in (asked, there):
        if chosen and isinstance(one.get("seed"), list):
            one["seed"] = list(dict.fromkeys(one["seed"]))
    for name in asked.keys() | there.keys():
        if asked.get(name) != there.get(name) and name not in chosen:
            raise ValueError(
                f"{folder} holds a run with another {name}, {there.get(name)} in place of "
                f"{asked.get(name)}: choose another --out, or the options in its {CONFIG}"
            )
    return True


def command_of(config: Experiment, folder: str) -> str:
    """Return the `thalweg run` command for a configuration: the options that are not defaults.

    >>> from thalweg.experiments import Scalar
    >>> command_of(Scalar(steps=50, step_size=(0.1, 0.2)), "DIR")
    'thalweg run scalar --out DIR --step-size 0.1 0.2 --steps 50'
    """
    words, usual = ["thalweg", "run", config.name, "--out", folder], type(config)()
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if value != getattr(usual, field.name):
            words += _option(field.name, value)
    return shlex.join(words)


def _option(name: str, value: Any) -> list[str]:
    flag = "--" + name.replace("_", "-")
    if value is True:
        return [flag]
    values = value if isinstance(value, tuple) else (value,)
    return [flag, *(str(entry) for entry in values)]
