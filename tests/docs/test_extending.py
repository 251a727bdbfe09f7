"""Whoever adds something writes one file, and one line in a registry: here all files are one."""

import dataclasses
import importlib.util

import pytest

import thalweg as tw
from thalweg import cli, experiments, figures, models, results
from thalweg.display import table
from thalweg.experiments import EXPERIMENTS
from thalweg.experiments.network import network_experiment
from thalweg.models import ARCHITECTURES

ADDED = '''
from dataclasses import dataclass
from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp

from thalweg.curvature import top_eigenpairs
from thalweg.descent import Reading, Sharpness
from thalweg.descent.values import values_of_flow, variables_of_flow
from thalweg.flow import FlowSolution, Status, gradient_flow_solution
from thalweg.models import Architecture, option
from thalweg.problems import Problem
from thalweg.runs.experiment import DescentExperiment


@dataclass(frozen=True, kw_only=True)
class Bilinear(Architecture):
    """Two matrices, without an activation."""

    widths: tuple[int, ...] = option((3,), "columns of the first matrix")
    rows: int = option(2, "rows of pixels that are seen")

    def check(self):
        if len(self.widths) != 1:
            raise ValueError("widths must be one number")

    def init(self, key, image, outputs):
        pixels = self.rows * image[1] * image[2]
        return jnp.ones((pixels, self.widths[0])), jnp.full((self.widths[0], outputs), 0.1)

    @staticmethod
    def predict(w, x, activation):
        return x.reshape(len(x), -1)[:, : len(w[0])] @ w[0] @ w[1]


@dataclass(frozen=True)
class Euler:
    """Explicit steps of one length, to a gradient of length 1e-8."""

    length: float
    name: ClassVar[str] = "euler"

    def solve(self, problem, w, request):
        work, field = 0, eqx.filter_jit(problem.gradient)
        while jnp.linalg.norm(gradient := field(w)) > 1e-8:
            w, work = w - self.length * gradient, work + 1
        sharpness = float(top_eigenpairs(problem, w).values[0])
        return FlowSolution(
            w=w,
            sharpness=sharpness,
            sharpness_error=self.length * sharpness,
            loss=float(problem(w)),
            status=Status.CONVERGED,
            gradient_evaluations=work,
            method=self.name,
            eigenvector=None,
        )


@dataclass(frozen=True)
class EulerSharpness:
    """The sharpness where explicit steps end."""

    every: int
    start: int = 0
    name: ClassVar[str] = "euler"
    variables = variables_of_flow("euler", {"long_name": "by Euler", "label": "Euler's sharpness"})

    def measure(self, problem, w, memory, report):
        found = gradient_flow_solution(problem, w, method=Euler(0.01))
        work = float(found.gradient_evaluations)
        return Reading(values_of_flow("euler", found, work), None, work)


class Saddle(Problem):
    def __call__(self, w):
        return 0.5 * (w[0] * w[1] - 1) ** 2


@dataclass(frozen=True, kw_only=True)
class Hyperbola(DescentExperiment):
    """Two factors of one."""

    name: ClassVar[str] = "hyperbola"
    summary: ClassVar[str] = "two factors of one"

    step_size: tuple[float, ...] = (0.3,)
    steps: int = 4
    sharpness_every: int = 1
    gfs_every: int = 2
    start: float = 2.0

    def build(self):
        return Saddle(), jnp.array([self.start, 1.0])

    def measurements(self):
        return [Sharpness(every=1), EulerSharpness(every=2)]
'''


@pytest.fixture
def added(tmp_path):
    path = tmp_path / "added.py"
    path.write_text(ADDED, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("added", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_an_architecture(added, tmp_path, monkeypatch, capsys):
    network = network_experiment({**ARCHITECTURES, "bilinear": added.Bilinear})
    monkeypatch.setitem(EXPERIMENTS, "network", network)
    with pytest.raises(SystemExit):
        cli.main(["run", "network", "--help"])
    found = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "columns of the first matrix (bilinear)" in found
    assert "--rows INT Rows of pixels that are seen (bilinear). (default: 2)" in found
    options = ["--architecture", "bilinear", "--samples", "5", "--image-size", "2", "--rows", "1"]
    schedule = ["--step-size", "0.01", "--steps", "3", "--gfs-every", "3", "--gfs-start", "3"]
    folder = tmp_path / "run"
    assert cli.main(["run", "network", *options, *schedule, "--out", str(folder)]) == 0
    assert results.load(folder).config["rows"] == 1
    start = network(architecture="bilinear", samples=5, image_size=2, rows=1).build()[1]
    assert start[0].shape == (2, 3)


def test_options_of_architectures_that_cannot_be_told_apart_are_refused(added):
    rows = ("rows", float, models.option(1.0, "parts of rows"))
    other = dataclasses.make_dataclass("Other", [rows], bases=(added.Bilinear,), frozen=True)
    with pytest.raises(ValueError, match="'rows' has several types"):
        network_experiment({"one": added.Bilinear, "other": other})
    seed = ("seed", int, models.option(1, "of its own"))
    other = dataclasses.make_dataclass("Other", [seed], bases=(added.Bilinear,), frozen=True)
    with pytest.raises(ValueError, match="'seed' is an option of every network"):
        network_experiment({"other": other})


def test_a_method_of_solving_the_flow(added):
    problem, w = added.Hyperbola().build()
    by_steps = tw.gradient_flow_solution(problem, w, method=added.Euler(1e-3))
    exact = tw.gradient_flow_solution(tw.ScalarNetwork(2), w)
    assert by_steps.method == "euler"
    assert abs(by_steps.sharpness - exact.sharpness) <= by_steps.sharpness_error
    run = tw.descend(
        problem, w, step_size=0.1, steps=1, measurements=tw.GFSSharpness(method=added.Euler(0.01))
    )
    assert run.dataset["gfs_status"].values.tolist() == [[0.0, 0.0]]


def test_an_experiment_with_a_measurement_of_its_own(added, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(EXPERIMENTS, added.Hyperbola.name, added.Hyperbola)
    folder = tmp_path / "run"
    assert cli.main(["run", "hyperbola", "--out", str(folder), "--start", "1.9"]) == 0
    printed = capsys.readouterr().out
    stored = results.load(folder)
    (run,) = stored.summary["runs"]
    assert "euler sharpness" in printed
    assert printed.splitlines()[0] == table(stored.summary).splitlines()[0]
    assert run["euler"]["monotonicity"]["verdict"] in ("decreasing", "not decreasing", "undecided")
    assert run["euler"]["sharpness"] == stored.dataset["euler_sharpness"].values[0, -1]
    assert run["unconverged"]["euler_sharpness"] == 0
    labels = [axes.get_ylabel() for axes in figures.plot(stored.dataset).axes]
    assert "Euler's sharpness" in labels
    again = experiments.resume(folder)
    assert again == stored.summary


@pytest.mark.slow
def test_an_experiment_with_a_figure_of_its_own(added, tmp_path, monkeypatch):
    monkeypatch.setitem(EXPERIMENTS, added.Hyperbola.name, added.Hyperbola)
    monkeypatch.setattr(added.Hyperbola, "figure", "path", raising=False)

    def path(dataset):
        figure = figures.plot_run(dataset)
        figure.suptitle("by itself")
        return figure

    monkeypatch.setitem(figures.FIGURES, "path", path)
    experiments.run(added.Hyperbola(), tmp_path / "run")
    drawn = figures.plot(results.load(tmp_path / "run").dataset)
    assert drawn.get_suptitle() == "by itself"


def test_every_experiment_names_a_figure():
    assert all(kind.figure in figures.FIGURES for kind in EXPERIMENTS.values())
