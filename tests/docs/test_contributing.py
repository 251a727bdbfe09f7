"""The recipe for contributors works as it stands, and the files that it names are there."""

import importlib.util
import re
import tomllib
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

import thalweg as tw
from thalweg import cli, results
from thalweg.experiments import EXPERIMENTS
from thalweg.experiments.network import network_experiment
from thalweg.models import ARCHITECTURES

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


@pytest.fixture
def recipe(tmp_path):
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    path = tmp_path / "bilinear.py"
    path.write_text(block, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("bilinear", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_the_architecture_is_an_option_of_the_command_line(recipe, tmp_path, monkeypatch):
    network = network_experiment({**ARCHITECTURES, "bilinear": recipe.Bilinear})
    monkeypatch.setitem(EXPERIMENTS, "network", network)
    given = ["--architecture", "bilinear", "--hidden", "4", "--samples", "5", "--image-size", "2"]
    schedule = ["--step-size", "0.01", "--steps", "2", "--gfs-every", "3", "--gfs-start", "3"]
    assert cli.main(["run", "network", *given, *schedule, "--out", str(tmp_path / "run")]) == 0
    assert results.load(tmp_path / "run").config["hidden"] == 4


def test_the_architecture_is_right(recipe):
    w = recipe.Bilinear(hidden=4).init(jax.random.key(0), (2, 2, 1), 3)
    x = jnp.arange(8.0).reshape(2, 2, 2, 1)
    outputs = recipe.Bilinear.predict(w, x, None)
    # Every output of a sample is the sum of its pixels, times 4.
    assert outputs.tolist() == [[24.0] * 3, [88.0] * 3]
    assert tw.Supervised(lambda w, x: recipe.Bilinear.predict(w, x, None), x, outputs)(w) == 0


def test_what_the_page_names_is_there():
    for path in re.findall(r"`((?:src|tests|benchmarks|docs)/[\w/.]*)`", PAGE):
        assert (ROOT / path).exists(), path
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    assert set(re.findall(r"`?make ([\w-]+)", PAGE.replace("`make` and", ""))) <= set(targets)


def test_marks_are_those_of_the_configuration():
    options = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    marks = [mark.split(":")[0] for mark in options["tool"]["pytest"]["ini_options"]["markers"]]
    assert marks == ["slow", "survival", "torch"]
    assert all(f"`{mark}`:" in PAGE for mark in marks)
