"""References of `φ` for the fresh problems, by integrators that share nothing with thalweg.

    python benchmarks/fresh_references.py [--kinds ...]   # resumes fresh_references.json

The flow is followed twice, by SciPy's Radau and by LSODA, both at 1e-10 and with the dense Hessian
(by its BDF, where Radau is still under way after 8 s: its Newton iterations hardly converge on
long drifts along curved valleys), until nothing is left to go in any mode, however slow: what is
left in a mode is its gradient over its curvature, and a mode of no curvature may drift until
`LATEST`. The sharpness there, and a decade of time before, is that of LAPACK. The reference is what
Radau found, its error the difference to LSODA, to the decade before, and what is left.

Where the set of minima has an edge, the curvature is that of a loss whose edge lies `OUTWARDS` by
1e-7, so that the side from which the flow comes counts. Kinks are rounded over a width of 1e-6 for
the integration; the reference is the interval of the sharpness of the true loss over many points
beside the limit. An unsettled flow has none; neither has one that takes too long.
"""

import argparse
import json
import time
from dataclasses import asdict, dataclass
from functools import cache
from math import inf
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from scipy.integrate import BDF, LSODA, Radau

from fresh_case import EDGE, KINKED, UNSETTLED
from fresh_problems import KINDS, all_settings_early, draw

REFERENCES = Path(__file__).with_name("fresh_references.json")
TOLERANCE = 1e-10
SECONDS = {LSODA: 25.0, Radau: 8.0, BDF: 25.0}  # of processor time
LATEST = 1e13  # time: a flow that has not settled by then is unsettled
SETTLED = 1e-7  # relative: what may be left to go
AGREED = 1e-5  # relative: how well two integrators must agree
OUTWARDS, ROUNDED = 1e-7, 1e-6
SIDES, ASIDE = 128, 3e-5  # points beside a limit on kinks, and how far, relative to the size


@dataclass(frozen=True)
class Reference:
    """`φ` lies in `[low, high]`, up to `error`; or a word in `why` says why nothing is known.

    `method` agrees with LSODA; `loss` and `time` are those at the end of it.
    """

    kind: str
    seed: int
    parameters: int
    low: float | None = None
    high: float | None = None
    error: float | None = None
    loss: float | None = None
    time: float | None = None
    method: str | None = None
    why: str | None = None
    seconds: float = 0.0

    @property
    def known(self):
        """Whether there is a value."""
        return self.low is not None

    def misses(self, value, bar):
        """Return by how much the bar fails to reach the truth, beyond the reference's own error."""
        return max(self.low - value, value - self.high, 0.0) - bar - self.error


class Unsettled(Exception):  # noqa: N818
    """An integrator did not reach the limit."""


@cache
def functions(loss):
    """Return gradient, Hessian and curvature's gradient of a vector, compiled once for a loss."""

    def flat(v, like, data, edge):
        return loss(ravel_pytree(like)[1](v), data, edge)

    gradient, hessian = jax.grad(flat), jax.hessian(flat)

    def slope(v, like, data, edge, vector):
        def along(v):
            return jnp.vdot(
                vector, jax.jvp(lambda v: gradient(v, like, data, edge), (v,), (vector,))[1]
            )

        return jax.grad(along)(v)

    return tuple(map(jax.jit, (flat, gradient, hessian, slope)))


class Flow:
    """A case as a flow of one vector, with the edge or the kinks as a reference wants them."""

    def __init__(self, case):
        self.case = case
        self.start = np.asarray(ravel_pytree(case.w)[0])
        self.rounding = ROUNDED if case.limit == KINKED else None
        self.margin = {EDGE: OUTWARDS, KINKED: ROUNDED}.get(case.limit)

    def _call(self, which, w, edge, *others):
        function = functions(self.case.loss)[which]
        return np.asarray(function(w, self.case.w, self.case.data, edge, *others))

    def loss(self, w):
        """Return the loss that was given."""
        return float(self._call(0, w, None))

    def velocity(self, t, w):
        """Return `dw/dt`."""
        return -self._call(1, w, self.rounding)

    def jacobian(self, t, w):
        """Return its derivative."""
        return -self._call(2, w, self.rounding)

    def sharpness(self, w):
        """Return the sharpness of the loss that was given, at `w` itself."""
        return float(np.linalg.eigvalsh(self._call(2, w, None))[-1])

    def estimate_limit(self, t, w):
        """Return the sharpness, and how far it and `w` still have to go, to first order."""
        values, vectors = np.linalg.eigh(self._call(2, w, self.margin))
        if values[0] * t < -0.1 and -values[0] > 1e-13 * values[-1]:
            return values[-1], inf, inf
        gradient = vectors.T @ -self.velocity(t, w)
        noise = 4 * np.finfo(float).eps * max(abs(values[-1]), 1e-8) * (1 + np.linalg.norm(w))
        gradient[np.abs(gradient) <= noise] = 0.0
        to_go = np.abs(gradient) / np.maximum(np.abs(values), 1 / LATEST)
        slope = vectors.T @ self._call(3, w, self.margin, vectors[:, -1])
        return values[-1], float(np.sum(np.abs(slope) * to_go)), float(np.sum(to_go))


def integrate(flow, method):
    """Return where the flow ends, the sharpness there and its error, the time it took."""
    deadline = time.process_time() + SECONDS[method]
    solver = method(
        flow.velocity,
        0.0,
        flow.start,
        t_bound=LATEST,
        first_step=1e-4,
        rtol=TOLERANCE,
        atol=TOLERANCE / 100,
        jac=flow.jacobian,
    )
    estimates, next_estimate = [], 1e-2
    while solver.status == "running":
        if time.process_time() > deadline:
            raise Unsettled(f"no end in {SECONDS[method]:g} s, at time {solver.t:.1e}")
        solver.step()
        if solver.t < next_estimate:
            continue
        next_estimate = solver.t * 1.2
        sharpness, left, distance = flow.estimate_limit(solver.t, solver.y)
        estimates.append((solver.t, sharpness))
        scale = max(abs(sharpness), 1e-12)
        is_near = distance <= SETTLED * (1 + np.linalg.norm(solver.y))
        if is_near and (flow.rounding or left <= SETTLED * scale):
            before = [value for t, value in estimates if t <= solver.t / 10]
            change = abs(before[-1] - sharpness) if before else inf
            if flow.rounding or change <= SETTLED * scale:
                return solver.y, sharpness, left + min(change, scale), solver.t
    raise Unsettled(f"not settled at time {solver.t:.1e}: {solver.status}")


def make_reference(kind, seed):
    case = draw(kind, seed)
    flow, begin = Flow(case), time.process_time()
    common = {"kind": kind, "seed": seed, "parameters": flow.start.size}
    if case.limit == UNSETTLED:
        return Reference(**common, why=UNSETTLED)
    if case.truth is not None:
        return Reference(**common, low=case.truth, high=case.truth, error=1e-12)
    try:
        w2, value2, error2, _ = integrate(flow, LSODA)
        method, (w, value, error, t) = follow_first(flow, Radau, BDF)
    except Unsettled as reason:
        return Reference(**common, why=str(reason), seconds=time.process_time() - begin)
    low, high = interval(flow, [w, w2]) if case.limit == KINKED else (value, value)
    error = 0.0 if case.limit == KINKED else abs(value - value2) + error + error2
    if case.limit == EDGE:
        error += 2 * OUTWARDS * value
    far = np.linalg.norm(w - w2) > 1e-4 * (1 + np.linalg.norm(w))
    why = "the integrators disagree" if far or error > AGREED * max(abs(high), 1e-6) else None
    found = {} if why else {"low": low, "high": high, "error": error}
    seconds = time.process_time() - begin
    found |= {"loss": flow.loss(w), "time": t, "method": method}
    return Reference(**common, **found, why=why, seconds=seconds)


def follow_first(flow, method, *others):
    """Return the name of the first method that reaches the limit, and what it found."""
    try:
        return method.__name__, integrate(flow, method)
    except Unsettled:
        if not others:
            raise
        return follow_first(flow, *others)


def interval(flow, limits):
    """Return the least and the largest sharpness beside the limits, on all sides of the kinks."""
    rng = np.random.default_rng(0)
    values = []
    for w in limits:
        step = ASIDE * np.linalg.norm(w) / len(w) ** 0.5
        values += [flow.sharpness(w + step * d) for d in rng.standard_normal((SIDES, len(w)))]
    return min(values), max(values)


def read_references():
    rows = json.loads(REFERENCES.read_text()) if REFERENCES.exists() else []
    return {(row["kind"], row["seed"]): Reference(**row) for row in rows}


def write_references(references):
    order = {kind: number for number, kind in enumerate(KINDS)}
    ordered = sorted(references.values(), key=lambda r: (order[r.kind], r.seed))
    lines = [json.dumps({k: v for k, v in asdict(r).items() if v is not None}) for r in ordered]
    REFERENCES.write_text("[\n" + ",\n".join(lines) + "\n]\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    references = read_references()
    cases = [(kind, seed) for kind in options.kinds for seed in range(KINDS[kind][1])]
    for kind, seed in all_settings_early(cases):
        if (kind, seed) not in references:
            references[kind, seed] = reference = make_reference(kind, seed)
            write_references(references)
            print(reference, flush=True)


if __name__ == "__main__":
    main()
