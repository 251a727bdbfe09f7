"""The command line that runs an experiment again."""

import dataclasses
import shlex
from typing import Any

from thalweg.runs.experiment import Experiment


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
