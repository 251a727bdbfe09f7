"""Other ways to follow gradient flow, each a generator of the points that it passes.

A method takes a `Flow`, a `WorkCounter` for its work, and one setting (a tolerance, or a length
of step), and yields `w` along the flow for as long as it is asked. `PEERS` lists them. They get
their first step, a tenth of `1/sharpness`, as a gift.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any

import diffrax
import equinox as eqx
import extensisq
import jax
import jax.numpy as jnp
import numpy as np
import scipy.integrate
from jax import lax

from thalweg.curvature import top_eigenpairs
from thalweg.problems import COST, flatten

LATEST = 1e12  # time: where SciPy's solvers are told to end
MARKS = 1.1  # ratio of work from one mark to the next
RENEWAL = 0.1  # growth of the number of steps of fixed size until the sharpness is renewed
EXACT = 15  # eigenvectors that are treated exactly
FARTHEST = 1e3  # longest step past `1/sharpness`, where eigenvectors are treated exactly
ROUGH, FINE = 1e-2, 1e-4  # precision of an eigenvalue to step by, of eigenvectors to rely on
PRODUCTS = 500  # at most, for them
DENSE_UP_TO = {"diffrax": 700, "scipy": 4000}  # parameters: larger Jacobians do not fit


class BudgetSpentError(Exception):
    """There is no work or no time left."""


@dataclass(frozen=True)
class Budget:
    """What one trajectory may cost."""

    seconds: float = 60.0
    evaluations: float = 2e6


class WorkCounter:
    """Counts work, in units of one gradient, and seconds; says how far it is to the next mark."""

    def __init__(self, budget: Budget):
        self.budget = budget
        self.work = self.mark = self.seconds = 0.0
        self._begin = 0.0

    def spend(self, work: float) -> None:
        """Count `work`, and raise `BudgetSpentError` if that is too much, or took too long."""
        self.work += work
        seconds = self.seconds + perf_counter() - self._begin
        if self.work > self.budget.evaluations or seconds > self.budget.seconds:
            raise BudgetSpentError

    def room(self, cost: float) -> int:
        """Return how many steps of that cost there are until the next mark, at least one."""
        return max(1, int((min(self.mark, self.budget.evaluations) - self.work) / cost))

    def time(self, path: Iterator[Any]) -> Any:
        """Return the next point of a path; only here does the clock run."""
        self._begin = perf_counter()
        try:
            return jax.block_until_ready(next(path))
        finally:
            self.seconds += perf_counter() - self._begin

    def set_mark(self) -> None:
        """Put the next mark a little further on."""
        self.mark = MARKS * self.work


class Flow:
    """Gradient flow of one vector: `velocity(w) = -∇L(w)`, and `jacobian(w) = -∇²L(w)`."""

    def __init__(self, loss: Callable[[Any], Any], w: Any):
        self.problem, self.start = problem, _ = flatten(loss, w)
        self.size = self.start.size
        self.velocity = jax.jit(lambda w: -problem.gradient(w))
        self.jacobian = jax.jit(lambda w: -jax.vmap(problem.hessian(w))(jnp.eye(w.size)))

    def first_step(self) -> float:
        """Return a tenth of `1/sharpness` at the start."""
        return 0.1 / abs(self.top(self.start).values[0])

    def top(self, w, counter=None, k=1, start=None, tol=ROUGH):
        """Return the top eigenpairs of the Hessian, and count the work."""
        pairs = top_eigenpairs(self.problem, w, k, start=start, tol=tol, max_products=PRODUCTS)
        if counter:
            counter.spend(COST.hessian_product * pairs.matvecs)
        return pairs


def runge_kutta4(flow, counter, factor):
    """Follow with the classical method of order 4, in steps of `factor / sharpness`."""
    w, vectors, done = flow.start, None, 0
    while True:
        pairs = flow.top(w, counter, start=vectors)
        step, vectors = factor / abs(pairs.values[0]), pairs.vectors
        renewal = done + max(1, int(RENEWAL * done))
        while done < renewal:
            count = min(renewal - done, counter.room(4 * COST.gradient))
            w = runge_kutta4_steps(flow.problem, w, jnp.asarray(step), jnp.asarray(count))
            done += count
            counter.spend(4 * COST.gradient * count)
            yield w


@eqx.filter_jit
def runge_kutta4_steps(problem, w, step, count):
    def one(_, w):
        k1 = -problem.gradient(w)
        k2 = -problem.gradient(w + step / 2 * k1)
        k3 = -problem.gradient(w + step / 2 * k2)
        k4 = -problem.gradient(w + step * k3)
        return w + step / 6 * (k1 + 2 * k2 + 2 * k3 + k4)

    return lax.fori_loop(0, count, one, w)


def exponential_euler(flow, counter, factor):
    """Follow by Euler steps that are exact along the top eigenvectors of the Hessian.

    A step is `factor / λ` with the largest eigenvalue that is not treated exactly. That may vanish:
    a step at most doubles, and stays below `FARTHEST` times `factor / sharpness`.
    """
    w, vectors, step = flow.start, None, flow.first_step()
    while True:
        pairs = flow.top(w, counter, k=min(EXACT + 1, flow.size), start=vectors, tol=FINE)
        vectors, values = pairs.vectors, pairs.values
        step = min(factor / max(abs(values[-1]), abs(values[0]) / FARTHEST), 2 * step)
        exact = vectors[:, :-1], jnp.asarray(values[:-1])
        w = exponential_euler_step(flow.problem, w, *exact, jnp.asarray(step))
        counter.spend(COST.gradient)
        yield w


@eqx.filter_jit
def exponential_euler_step(problem, w, vectors, values, step):
    gradient = problem.gradient(w)
    along = vectors.T @ gradient
    still = jnp.abs(step * values) < 1e-12
    times = jnp.where(still, step, -jnp.expm1(-step * values) / jnp.where(still, 1.0, values))
    return w - step * (gradient - vectors @ along) - vectors @ (times * along)


def by_diffrax(flow, counter, tolerance, make_solver, step_cost):
    """Follow with a solver of diffrax, stepped by hand, and its own control of the step."""
    controller = diffrax.PIDController(jnp.asarray(tolerance), jnp.asarray(0.1 * tolerance))
    solver = make_solver(controller)
    cost = step_cost(flow.size)
    state = diffrax_start(
        solver, controller, flow.problem, flow.start, jnp.asarray(flow.first_step())
    )
    counter.spend(COST.gradient)
    while True:
        count = counter.room(cost)
        state = diffrax_steps(solver, controller, flow.problem, state, jnp.asarray(count))
        counter.spend(cost * count)
        yield state[2]


TERM = diffrax.ODETerm(lambda t, w, problem: -problem.gradient(w))


@eqx.filter_jit
def diffrax_start(solver, controller, problem, w, step):
    zero = jnp.asarray(0.0, w.dtype)
    order = solver.error_order(TERM)
    end, control = controller.init(TERM, zero, zero + jnp.inf, w, step, problem, None, order)
    return zero, end, w, solver.init(TERM, zero, end, w, problem), control


@eqx.filter_jit
def diffrax_steps(solver, controller, problem, state, count):
    def one(_, state):
        t, end, w, inner, control = state
        candidate, error, _, advanced, _ = solver.step(TERM, t, end, w, problem, inner, False)
        error = jnp.where(jnp.isnan(error), jnp.inf, error)
        order = solver.error_order(TERM)
        keep, t, end, _, control, _ = controller.adapt_step_size(
            t, end, w, candidate, problem, error, order, control
        )
        now = jax.tree.map(partial(jnp.where, keep), (candidate, advanced), (w, inner))
        return t, end, *now, control

    return lax.fori_loop(0, count, one, state)


def kvaerno5(controller):
    """Return the solver with the tolerances that diffrax would choose for its root finder."""
    finder = diffrax.VeryChord(controller.rtol, controller.atol, controller.norm)
    return diffrax.Kvaerno5(root_finder=finder)


def kvaerno5_cost(size):
    """Return what a step costs at least: a dense Jacobian, and one evaluation for each stage.

    diffrax does not tell how many iterations its root finder took.
    """
    return size * COST.hessian_product + 6 * COST.gradient


def by_scipy(flow, counter, tolerance, solver, dense):
    """Follow with a solver of SciPy's interface; it ends where the solver does."""

    def velocity(t, w):
        counter.spend(COST.gradient)
        return np.asarray(flow.velocity(w))

    def jacobian(t, w):
        counter.spend(flow.size * COST.hessian_product)
        return np.asarray(flow.jacobian(w))

    steps = solver(
        velocity,
        0.0,
        np.asarray(flow.start),
        t_bound=LATEST,
        first_step=flow.first_step(),
        rtol=tolerance,
        atol=0.1 * tolerance,
        **({"jac": jacobian} if dense else {}),
    )
    while steps.status == "running":
        steps.step()
        yield jnp.asarray(steps.y)


@dataclass(frozen=True)
class Peer:
    """A method, the settings to try for a relative accuracy, and how large a problem may be."""

    integrate: Callable[..., Iterator[Any]]
    settings: Callable[[float], tuple[float, ...]]
    largest: float = np.inf
    dense: bool = False


def tolerances(accuracy):
    """Return the local tolerances worth trying: the accuracy itself, and tighter ones."""
    return accuracy, accuracy / 10, accuracy / 100


def always(*settings):
    return lambda accuracy: settings


def diffrax_peer(make_solver, step_cost, **size):
    integrate = partial(by_diffrax, make_solver=make_solver, step_cost=step_cost)
    return Peer(integrate, tolerances, **size)


def scipy_peer(solver, dense):
    largest = DENSE_UP_TO["scipy"] if dense else np.inf
    return Peer(partial(by_scipy, solver=solver, dense=dense), tolerances, largest, dense)


PEERS: dict[str, Peer] = {
    "RK4, 1/λ": Peer(runge_kutta4, always(1.0)),
    "RK4, 2.5/λ": Peer(runge_kutta4, always(2.5)),
    "Tsit5": diffrax_peer(lambda _: diffrax.Tsit5(), lambda _: 6 * COST.gradient),
    "Dopri8": diffrax_peer(lambda _: diffrax.Dopri8(), lambda _: 13 * COST.gradient),
    "Kvaerno5": diffrax_peer(kvaerno5, kvaerno5_cost, largest=DENSE_UP_TO["diffrax"]),
    "LSODA": scipy_peer(scipy.integrate.LSODA, dense=True),
    "BDF": scipy_peer(scipy.integrate.BDF, dense=True),
    "SSV2stab": scipy_peer(extensisq.SSV2stab, dense=False),
    "exponential Euler": Peer(exponential_euler, always(1.0, 0.3, 0.1)),
}
