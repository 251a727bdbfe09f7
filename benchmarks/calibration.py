"""Are the error bars true? Random small networks against independent references of `φ`.

    python benchmarks/calibration.py references   # writes calibration_references.json, resumes
    python benchmarks/calibration.py              # writes calibration.json, resumes, prints a table

A reference follows the flow with LSODA and the dense Hessian, at two tolerances, until nothing is
left to go, and takes the largest eigenvalue there from LAPACK: it shares nothing with
`thalweg.flow` and `thalweg.curvature`. Where the flow takes too long, or the two tolerances
disagree, there is no reference, and the case is counted as such.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cache
from itertools import pairwise
from math import inf, nan
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.flatten_util import ravel_pytree
from scipy.integrate import LSODA

import thalweg as tw
from machine import is_same_start
from thalweg.flow.exponential_rosenbrock import MAX_PARAMETERS
from thalweg.models import mlp, mlp_init

CASES = 240
ARCHITECTURES = 24
UNFITTABLE_EVERY = 6  # one architecture in so many has too few parameters for zero loss
MOST_PARAMETERS = 350

TOLERANCES = (1e-9, 1e-11)  # of the reference, relative and local
SECONDS = 20.0  # of processor time per reference
LATEST = 1e12  # time: a flow that has not settled by then has no reference
SETTLED = 1e-8  # relative: what may be left to go
TRUSTED = 0.02  # of rtol: the uncertainty of a reference that is used

REFERENCES = Path(__file__).with_name("calibration_references.json")
RESULTS = Path(__file__).with_name("calibration.json")

METHODS: dict[str, Callable[[], Any]] = {
    "default": lambda: None,
    "stabilized": lambda: tw.flow.Stabilized(),
    "exponential": lambda: tw.flow.Exponential(),
    "exponential_rosenbrock": lambda: tw.flow.ExponentialRosenbrock(),
}
ACTIVATIONS = {
    "tanh": jnp.tanh,
    "gelu": jax.nn.gelu,
    "softplus": jax.nn.softplus,
    "sigmoid": jax.nn.sigmoid,
    "sin": jnp.sin,
    "swish": jax.nn.swish,
}


@dataclass(frozen=True)
class Architecture:
    """What is compiled for: a network `(inputs, *hidden, outputs)` and a number of samples."""

    activation: str
    widths: tuple[int, ...]
    samples: int

    @property
    def parameters(self) -> int:
        """How many numbers there are to learn."""
        return sum((a + 1) * b for a, b in pairwise(self.widths))

    @property
    def equations(self) -> int:
        """How many numbers there are to fit."""
        return self.samples * self.widths[-1]

    def suits(self, fittable: bool) -> bool:
        """Whether it is small enough, and clearly fittable or clearly not."""
        ratio = self.parameters / self.equations
        return self.parameters <= MOST_PARAMETERS and (ratio >= 1.5 if fittable else ratio <= 0.8)


@cache
def draw_architecture(index):
    rng = np.random.default_rng((2026, index))
    fittable = (index + 1) % UNFITTABLE_EVERY != 0
    names = list(ACTIVATIONS)
    activation = names[(index + index // len(names)) % len(names)]
    while True:
        inputs, outputs = rng.integers(1, 9), rng.integers(1, 5)
        hidden = rng.integers(3, 17, size=rng.integers(1, 4))
        widths = tuple(int(width) for width in (inputs, *hidden, outputs))
        architecture = Architecture(activation, widths, int(rng.integers(4, 31)))
        if architecture.suits(fittable):
            return architecture


@dataclass(frozen=True)
class Network:
    """The functions of one architecture; those after `predict` take `(w, x, y)` and are jitted."""

    predict: Callable[..., Any]
    unravel: Callable[..., Any]
    loss: Callable[..., Any]
    gradient: Callable[..., Any]
    hessian: Callable[..., Any]
    curvature_gradient: Callable[..., Any]
    descend: Callable[..., Any]


@cache
def network(architecture):
    activation = ACTIVATIONS[architecture.activation]
    unravel = ravel_pytree(mlp_init(jax.random.key(0), architecture.widths, jnp.float64))[1]

    def predict(layers, x):
        return mlp(layers, x, activation)

    def loss(w, x, y):
        return 0.5 * jnp.sum((predict(unravel(w), x) - y) ** 2) / architecture.samples

    gradient = jax.grad(loss)

    def curvature(w, x, y, v):
        return jnp.vdot(v, jax.jvp(lambda w: gradient(w, x, y), (w,), (v,))[1])

    def descend(w, x, y, step_size, steps):
        return lax.fori_loop(0, steps, lambda _, w: w - step_size * gradient(w, x, y), w)

    functions = loss, gradient, jax.hessian(loss), jax.grad(curvature), descend
    return Network(predict, unravel, *map(jax.jit, functions))


@dataclass(frozen=True)
class Case:
    """A start `w` (a vector), data, and the accuracy to ask for."""

    architecture: Architecture
    x: Any
    y: Any
    w: Any
    rtol: float


def draw_case(seed):
    """Draw data, a scaled initialisation, and some gradient descent from there."""
    architecture = draw_architecture(seed % ARCHITECTURES)
    functions = network(architecture)
    rng = np.random.default_rng(seed)
    x = jnp.asarray(rng.standard_normal((architecture.samples, architecture.widths[0])))
    y = draw_targets(rng, x, architecture.widths[-1])
    layers = mlp_init(jax.random.key(seed), architecture.widths, jnp.float64)
    w = rng.uniform(0.6, 1.6) * ravel_pytree(layers)[0]
    step_size = rng.uniform(0.5, 1.5) / np.linalg.eigvalsh(functions.hessian(w, x, y))[-1]
    w = functions.descend(w, x, y, step_size, int(301 * rng.uniform() ** 2))
    return Case(architecture, x, y, w, float(10 ** rng.uniform(-5, -2)))


def draw_targets(rng, x, outputs):
    """Draw a smooth function of the inputs, a teacher's outputs, or noise."""
    kind = rng.choice(["smooth", "teacher", "noise"])
    if kind == "noise":
        return jnp.asarray(rng.standard_normal((x.shape[0], outputs)))
    if kind == "smooth":
        return jnp.sin(x @ rng.standard_normal((x.shape[1], outputs)) + rng.uniform(0, 2 * np.pi))
    teacher = mlp_init(jax.random.key(rng.integers(2**31)), (x.shape[1], 10, 10, outputs))
    return mlp(teacher, x)


@dataclass(frozen=True)
class Reference:
    """`φ`, its relative uncertainty, the final loss, and the loss at the start."""

    sharpness: float
    uncertainty: float
    loss: float
    start: float = nan

    def is_of(self, case):
        """Whether it is of this start."""
        return is_same_start(loss_at_start(case), self.start)


def loss_at_start(case):
    return float(network(case.architecture).loss(case.w, case.x, case.y))


def make_reference(case, tolerances=TOLERANCES, seconds=SECONDS):
    """Follow the flow at two tolerances: their difference, and what is left, is the uncertainty.

    The answer is `None` where the flow does not settle in time.
    """
    deadline = time.process_time() + seconds
    coarse = integrate(case, tolerances[0], deadline)
    fine = coarse and integrate(case, tolerances[1], deadline)
    if fine is None:
        return None
    difference = abs(fine.sharpness - coarse.sharpness) / abs(fine.sharpness)
    uncertainty = difference + coarse.uncertainty + fine.uncertainty
    return replace(fine, uncertainty=uncertainty, start=loss_at_start(case))


def integrate(case, tolerance, deadline):
    """Integrate until the sharpness has settled; its uncertainty is what is left to go."""
    functions, data = network(case.architecture), (case.x, case.y)
    solver = LSODA(
        lambda t, w: -np.asarray(functions.gradient(w, *data)),
        0.0,
        np.asarray(case.w),
        t_bound=LATEST,
        first_step=1e-3,  # left to itself, LSODA fails where a flow starts at rest
        rtol=tolerance,
        atol=0.1 * tolerance,
        jac=lambda t, w: -np.asarray(functions.hessian(w, *data)),
    )
    next_estimate, earlier = 1.0, nan
    while solver.status == "running" and time.process_time() < deadline:
        solver.step()
        if solver.t < next_estimate:
            continue
        sharpness, left = estimate_limit(functions, data, solver.t, solver.y)
        left += abs(sharpness - earlier) / abs(sharpness)
        if left <= SETTLED:
            return Reference(sharpness, left, float(functions.loss(solver.y, *data)))
        next_estimate, earlier = 2 * solver.t, sharpness
    return None


def estimate_limit(functions, data, t, w):
    """Return the sharpness, and a relative bound on what it still changes, to first order.

    A mode of curvature `κ` has `|∇L| / κ` left to go, or about `|∇L| t` where it is slower than
    the flow is old. Downward curvature that has had no time to act leaves everything open.
    """
    values, vectors = np.linalg.eigh(functions.hessian(w, *data))
    if values[0] * t < -0.1:
        return float(values[-1]), inf
    to_go = vectors.T @ functions.gradient(w, *data) / np.maximum(np.abs(values), 1 / t)
    slope = vectors.T @ functions.curvature_gradient(w, *data, vectors[:, -1])
    return float(values[-1]), float(np.sum(np.abs(slope * to_go)) / values[-1])


def write_references(cases):
    references = read_references() if REFERENCES.exists() else {}
    for seed in range(cases):
        if seed in references:
            continue
        begin = time.process_time()
        references[seed] = reference = make_reference(draw_case(seed))
        REFERENCES.write_text(as_json(references))
        print(f"{seed}: {reference}, {time.process_time() - begin:.1f} s", flush=True)


def as_json(references):
    """Return one line per seed: what a reference has, in that order; `null` if unsettled."""
    rows = {
        seed: [r.sharpness, float(f"{r.uncertainty:.1e}"), r.loss, r.start] if r else None
        for seed, r in sorted(references.items())
    }
    return (
        "{\n" + ",\n".join(f'"{seed}": {json.dumps(row)}' for seed, row in rows.items()) + "\n}\n"
    )


def read_references():
    rows = json.loads(REFERENCES.read_text())
    return {int(seed): row and Reference(*row) for seed, row in rows.items()}


@dataclass(frozen=True)
class Result:
    """What one method answered in one case, and what it should have."""

    seed: int
    method: str
    status: str
    rtol: float
    sharpness: float
    sharpness_error: float
    reference: float
    reference_uncertainty: float
    gradient_evaluations: float
    seconds: float

    @property
    def converged(self):
        """Whether the method says that it is as accurate as asked."""
        return self.status == "CONVERGED"

    @property
    def claims(self):
        """Whether the error bar is meant to hold."""
        return self.status in ("CONVERGED", "INACCURATE")

    @property
    def error(self):
        """How far the answer is from the reference."""
        return abs(self.sharpness - self.reference)

    @property
    def covered(self):
        """Whether the error bar holds."""
        return self.error <= self.sharpness_error

    @property
    def accurate(self):
        """Whether the answer is as accurate as asked."""
        return self.error <= self.rtol * abs(self.reference)


def solve(seed, case, reference, method):
    layers = network(case.architecture).unravel(case.w)
    problem = tw.Supervised(network(case.architecture).predict, case.x, case.y)
    begin = time.perf_counter()
    s = tw.gradient_flow_solution(problem, layers, rtol=case.rtol, method=METHODS[method]())
    return Result(
        seed=seed,
        method=method,
        status=s.status.name,
        rtol=case.rtol,
        sharpness=s.sharpness,
        sharpness_error=s.sharpness_error,
        reference=reference.sharpness,
        reference_uncertainty=reference.uncertainty,
        gradient_evaluations=s.gradient_evaluations,
        seconds=time.perf_counter() - begin,
    )


def calibrate(cases, methods):
    references, results, missing = read_references(), read_results(), 0
    done = {(result.seed, result.method) for result in results}
    for seed in range(cases):
        case, reference = draw_case(seed), references.get(seed)
        is_known = reference is not None and reference.is_of(case)
        if not is_known or reference.uncertainty > TRUSTED * case.rtol:
            missing += 1
            continue
        for method in methods:
            if fits(method, case.architecture) and (seed, method) not in done:
                results.append(solve(seed, case, reference, method))
                RESULTS.write_text(json.dumps([asdict(result) for result in results], indent=0))
    print(f"{cases} cases, {missing} of them without a reference")
    print_table(results, methods)
    print_misses(results)


def fits(method, architecture):
    """Return whether a method is meant for such flows."""
    if method == "exponential":  # more numbers to learn than to fit
        return architecture.parameters > architecture.equations
    return method != "exponential_rosenbrock" or architecture.parameters <= MAX_PARAMETERS


def read_results():
    return [Result(**row) for row in json.loads(RESULTS.read_text())] if RESULTS.exists() else []


def percent(flags):
    return f"{100 * np.mean(flags):.1f}%" if flags else "-"


def print_table(results, methods):
    print("| method | converged | bar holds | bar/error | meets rtol | evaluations | seconds |")
    print("|---|---|---|---|---|---|---|")
    for method in methods:
        rows = [r for r in results if r.method == method]
        claims, converged = [r for r in rows if r.claims], [r for r in rows if r.converged]
        ratio = np.median([r.sharpness_error / max(r.error, 1e-300) for r in claims])
        work = np.median([r.gradient_evaluations for r in rows])
        print(
            f"| {method} | {percent([r.converged for r in rows])} "
            f"| {percent([r.covered for r in claims])} | {ratio:.1f} "
            f"| {percent([r.accurate for r in converged])} | {work:.0f} "
            f"| {np.median([r.seconds for r in rows]):.2f} |"
        )


def print_misses(results):
    for r in results:
        if r.claims and not r.covered:
            scale = abs(r.reference)
            print(
                f"miss: seed {r.seed}, {r.method}, {r.status}, rtol {r.rtol:.1e}: "
                f"off by {r.error / scale:.1e}, bar {r.sharpness_error / scale:.1e}, "
                f"reference uncertain by {r.reference_uncertainty:.1e}"
            )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="?", choices=["calibrate", "references"], default="calibrate")
    parser.add_argument("--cases", type=int, default=CASES)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    if options.what == "references":
        write_references(options.cases)
    else:
        calibrate(options.cases, options.methods)


if __name__ == "__main__":
    main()
