"""A run of gradient descent on a scalar network, judged in ball arithmetic: proofs for that run.

Every number is an Arb ball, a midpoint with a radius that is proved to hold the true value, from
the exact binary values of start, step size and target on. A comparison counts where the balls
decide it. Where they do not, the precision is doubled and the run is followed anew; where nothing
but an equality stands in the way, the gap condition decides, which is exact where the starts are.

F. Johansson, *Arb: efficient arbitrary-precision midpoint-radius interval arithmetic*, IEEE
Transactions on Computers 66 (2017), through python-flint.
"""

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from thalweg.scalar.trace import BY, Bracket, ScalarRun, Trace

FIRST_BITS, MOST_BITS = 128, 16_384
_LARGE = 1e300  # a run whose coordinates pass it is lost

flint: Any
try:
    import flint
except ImportError:  # an extra: the message below says how to get it
    flint = None

Ball = Any


class _UndecidedError(Exception):
    """The balls are too wide: more bits are needed."""


def trace_rigorous(run: ScalarRun, most_bits: int = MOST_BITS) -> Trace:
    """Follow and judge a run with as many bits as it takes, up to `most_bits`."""
    if flint is None:
        raise ImportError(
            "rigorous certificates need python-flint: pip install 'thalweg[rigorous]'"
        )
    before, bits = flint.ctx.prec, FIRST_BITS
    try:
        while True:
            flint.ctx.prec = bits
            one_pass = _TracePass(run, final=2 * bits > most_bits)
            try:
                return one_pass.trace(bits)
            except _UndecidedError:
                bits *= 2
    finally:
        flint.ctx.prec = before


class _TracePass:
    """One pass over the run at one precision: what is found so far."""

    def __init__(self, run: ScalarRun, final: bool):
        self.run, self.final = run, final
        self.eta, self.y = flint.arb(run.step_size), flint.arb(run.target)
        self.by = dict.fromkeys(BY, 0)
        self.rise: tuple[int, float] | None = None
        self.open: tuple[int, float] | None = None
        self.edge: int | None = None

    def trace(self, bits: int) -> Trace:
        """Return what is known of the run, or raise where more bits are needed and allowed."""
        w = [flint.arb(float(a)) for a in self.run.w0]
        point = _BallIterate(w, self.y)
        last: tuple[float, float] | None = None
        bracket: Bracket | None = None
        step, lost = 0, self._why_lost(point)
        while not lost:
            if self.edge is None and point.is_as_sharp_as(2 / self.eta):
                self.edge = step
            bracket, last = self._bracket(point, step)
            if bracket or step == self.run.steps:
                break
            pairs = zip(point.w, point.others, strict=True)
            new = _BallIterate([a - self.eta * point.residual * p for a, p in pairs], self.y)
            lost = self._why_lost(new)
            if not lost:
                self._classify_step(point, new, step)
            point, step = new, step + 1
        return Trace(
            judged=max(step - 1, 0) if lost else step,
            by=self.by,
            rise=self.rise,
            open=self.open,
            edge=self.edge,
            bracket=bracket,
            lost=lost,
            lost_at=step if lost else None,
            last=None if lost or bracket else last,
            bits=bits,
        )

    def _why_lost(self, point: "_BallIterate") -> str:
        """Return why no statement can be made from this point on, or nothing."""
        if not all(a.is_finite() for a in point.w):
            self._ask_for_bits()
            return "no finite number"
        if any(abs(a) > _LARGE for a in point.w):
            return "no finite number"
        if point.ends_in_saddle():
            return "saddle"
        if point.ends_in_minimiser():
            return ""
        self._ask_for_bits()
        return "undecided"

    def _ask_for_bits(self) -> None:
        """Ask for more bits; at the last precision, go on without an answer."""
        if not self.final:
            raise _UndecidedError

    def _bracket(
        self, point: "_BallIterate", step: int
    ) -> tuple[Bracket | None, tuple[float, float] | None]:
        """Return the bracket where the convergence condition holds, and its margins at the end."""
        loss = (point.residual / self.y) ** 2 / 2
        is_last = step == self.run.steps
        if not (is_last or loss < 0.004) or not point.product > 0:
            return None, (math.nan, math.nan)
        phi = point.gfs_sharpness
        if phi is None:
            self._ask_for_bits()
            return None, (math.nan, math.nan)
        delta = 2 - self.eta * phi
        gamma = delta.min(flint.arb(2) / 5)
        last = float(delta.mid()), float((1 - 50 * loss / gamma**2).mid())
        if delta > 0 and self.eta * phi >= 0.5 and 50 * loss < gamma**2:
            lower = (1 - 2 * loss / gamma) * phi
            ends = (
                math.nextafter(float(lower.lower()), -math.inf),
                math.nextafter(float(phi.upper()), math.inf),
            )
            return Bracket(step, *ends, float(delta.mid())), last
        return None, last

    def _classify_step(self, old: "_BallIterate", new: "_BallIterate", step: int) -> None:
        # η |π - y| |P_ij| for the worst pair, whatever the order where balls overlap.
        others = math.prod(sorted(a.abs_upper() for a in old.w)[2:])
        ratio = abs(self.eta * old.residual) * others
        if ratio <= 1:
            self.by["gap condition"] += 1
            return
        before = old.gfs_sharpness
        signs = old.product > 0 and all(a * b > 0 for a, b in zip(old.w, new.w, strict=True))
        if signs and before is not None and (self.eta * before) ** 2 <= 8:
            self.by["sharpness condition"] += 1
            return
        after = new.gfs_sharpness
        if before is None or after is None:
            self._ask_for_bits()
        elif after <= before:
            self.by["comparison"] += 1
            return
        elif after > before:
            if self.rise is None:
                self.rise = step, float(((after - before) / before).mid())
            return
        self._ask_for_bits()
        if self.open is None:
            self.open = step, float((1 - ratio).mid())


class _BallIterate:
    """An iterate in balls, and what is asked about it."""

    def __init__(self, w: Sequence[Ball], y: Ball):
        self.w, self.y = list(w), y
        before, after = [flint.arb(1)], [flint.arb(1)]
        for first, last in zip(self.w, reversed(self.w), strict=True):
            before.append(before[-1] * first)
            after.append(after[-1] * last)
        depth = len(self.w)
        self.others = [before[i] * after[depth - 1 - i] for i in range(depth)]
        self.product = before[-1]
        self.residual = self.product - y

    def ends_in_minimiser(self) -> bool:
        """Whether the flow provably ends in a minimiser: `π > 0`, or no tie for the smallest."""
        if self.product > 0:
            return True
        sizes = [abs(a) for a in self.w]
        smallest = min(range(len(sizes)), key=lambda i: float(sizes[i].mid()))
        return all(sizes[smallest] < size for i, size in enumerate(sizes) if i != smallest)

    def ends_in_saddle(self) -> bool:
        """Whether the flow provably ends in a saddle: an exact tie, in numbers that are exact."""
        if not all(a.is_exact() for a in self.w) or self.product > 0:
            return False
        first, second = sorted(abs(a) for a in self.w)[:2]
        return bool(first == second)

    @cached_property
    def gfs_sharpness(self) -> Ball | None:
        """A ball that holds `φ`, or `None` where the numbers are too wide for one.

        With `b_i = w_i² - w_m²` for any `m` fixed beforehand, `F(s) = Σ log(e^s + b_i) - 2 log y`
        has the one root `s*`, and `F' ≥ 1` because `b_m = 0`: so `|s - s*| ≤ |F(s)|` at every `s`
        where `F` is defined. That holds whether or not `m` is the smallest coordinate.
        """
        sizes = [abs(a) for a in self.w]
        m = min(range(len(sizes)), key=lambda i: sizes[i].mid())
        balances = [(a - sizes[m]) * (a + sizes[m]) for a in sizes]
        balances[m] = flint.arb(0)
        s = flint.arb(_approximate_root(balances, self.y))
        square = self.y * self.y
        for _ in range(3 + max(0, int(math.log2(flint.ctx.prec / 30)))):
            x = s.exp()
            terms = [x + b for b in balances]
            if not all(term > 0 for term in terms):
                return None
            slope = sum((x / term for term in terms), flint.arb(0))
            s = (s - (math.prod(terms) / square).log() / slope).mid()
        x = s.exp()
        terms = [x + b for b in balances]
        if not all(term > 0 for term in terms):
            return None
        error = abs((math.prod(terms) / square).log())
        x = (s + flint.arb(0, error.upper())).exp()
        terms = [x + b for b in balances]
        phi = square * sum((1 / term for term in terms), flint.arb(0))
        return phi if all(term > 0 for term in terms) and phi.is_finite() else None

    def is_as_sharp_as(self, threshold: Ball) -> bool:
        """Whether a Rayleigh quotient of the Hessian proves that the sharpness is no less."""
        w = np.array([float(a.mid()) for a in self.w])
        if not np.all(np.isfinite(w)) or np.any(w == 0):
            return False
        pi, y = float(np.prod(w)), float(self.y.mid())
        inverse = 1 / w
        with np.errstate(all="ignore"):
            hessian = (2 * pi - y) * pi * np.outer(inverse, inverse)
            hessian -= np.diag(pi * (pi - y) * inverse**2)
        if not np.all(np.isfinite(hessian)):
            return False
        values, vectors = np.linalg.eigh(hessian)
        if values[-1] < 0.999999 * float(threshold.mid()):
            return False
        v = [flint.arb(float(a)) for a in vectors[:, -1]]
        # vᵀHv = (Σ v_i P_i)² + (π - y) Σ_{i≠j} v_i v_j P_ij, with P_ij = P_i / w_j.
        zs = [a / b for a, b in zip(v, self.w, strict=True)]
        total, squares = sum(zs, flint.arb(0)), sum((z * z for z in zs), flint.arb(0))
        value = self.product**2 * total**2
        value += self.residual * self.product * (total**2 - squares)
        return bool(value >= threshold * sum((a * a for a in v), flint.arb(0)))


def _approximate_root(balances: Sequence[Ball], y: Ball) -> float:
    """Return `s` with `Σ log(e^s + b_i) ≈ 2 log y`, in float64, from logarithms alone."""
    logs = [float(b.mid().log().mid()) if b.mid() > 0 else -math.inf for b in balances]
    goal = 2 * float(y.log().mid())
    s = goal / len(logs)
    for _ in range(200):
        value, slope = -goal, 0.0
        for log in logs:
            gap = log - s
            value += max(log, s) + math.log1p(math.exp(-abs(gap)))
            slope += 1 / (1 + math.exp(gap)) if gap < 700 else 0.0
        step = value / slope
        s -= step
        if abs(step) < 1e-14 * max(1.0, abs(s)):
            break
    return s
