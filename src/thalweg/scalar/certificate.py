"""Certificates: what is proved of one run of gradient descent on a scalar network."""

import math
from dataclasses import asdict, dataclass
from typing import Any

import jax
import numpy as np
from numpy.typing import ArrayLike

from thalweg.problems.checks import check_not_traced
from thalweg.scalar.trace import ScalarRun, Trace, trace_float64

EDGE = 0.8  # a final sharpness of at least this part of 2/η counts as being at the edge
_PROOF = "proof for this trajectory"
_FLOAT64 = (
    "proved conditions, checked in float64; the rounding of the iterates is not accounted for"
)


@dataclass(frozen=True)
class Finding:
    """One statement about a run.

    Attributes
    ----------
    verdict
        "established", "refuted" or "not established".
    statement
        What is established or refuted; else what is missing, where, and by how much.
    basis
        What it rests on; empty for what is not established.
    step
        The step that decided: where a condition first held, or where the first one failed.
    margin
        The margin at that step, relative; `None` where there is none.
    """

    verdict: str
    statement: str
    basis: str = ""
    step: int | None = None
    margin: float | None = None

    @property
    def established(self) -> bool:
        """Whether the statement is established."""
        return self.verdict == "established"


@dataclass(frozen=True)
class Certificate:
    """What is established of one run, and what is not: the answer of `certify`.

    Attributes
    ----------
    depth, step_size, steps, target, rigorous
        What was asked.
    monotone
        The GFS sharpness never rose; beyond the last step too, where the run provably converges.
    converges
        The run converges to a global minimum.
    final_sharpness
        The final sharpness lies in `bracket`.
    edge
        The sharpness reached `2/step_size` along the run, and ends within 20 % below it.
    bracket
        `(lower, upper)`, or `None` where convergence is not established.
    trace
        The figures behind it.
    """

    depth: int
    step_size: float
    steps: int
    target: float
    rigorous: bool
    monotone: Finding
    converges: Finding
    final_sharpness: Finding
    edge: Finding
    bracket: tuple[float, float] | None
    trace: Trace

    @property
    def bits(self) -> int:
        """Bits of precision that it took (53: float64)."""
        return self.trace.bits

    @property
    def findings(self) -> dict[str, Finding]:
        """The four findings by name."""
        names = ("monotone", "converges", "final_sharpness", "edge")
        return {name: getattr(self, name) for name in names}

    @property
    def marks(self) -> list[tuple[int, str]]:
        """Steps worth a mark in a figure, in their order, with a short label each."""
        trace = self.trace
        marks = [
            (trace.edge, "sharpness reaches 2/step_size"),
            (trace.rise[0] if trace.rise else None, "GFS sharpness rises"),
            (trace.open[0] if trace.open else None, "undecided"),
            (trace.lost_at, trace.lost),
            (trace.bracket.step if trace.bracket else None, "convergence established"),
        ]
        return sorted((step, label) for step, label in marks if step is not None)

    def summary(self) -> dict[str, Any]:
        """Return all of it for JSON: no NaN, no infinity."""
        asked = ("depth", "step_size", "steps", "target", "rigorous", "bits")
        return {
            **{name: getattr(self, name) for name in asked},
            "bracket": list(self.bracket) if self.bracket else None,
            **{name: _finite(asdict(finding)) for name, finding in self.findings.items()},
            "steps_by": dict(self.trace.by),
            "marks": [list(mark) for mark in self.marks],
        }

    def __str__(self) -> str:
        how = f"ball arithmetic of {self.bits} bits" if self.rigorous else "float64"
        lines = [
            f"{self.steps} steps of gradient descent, depth {self.depth}, target {self.target:g}, "
            f"step size {self.step_size:g} (2/step_size = {2 / self.step_size:.6g}), in {how}"
        ]
        lines += [f"{f.verdict + ':':<16} {f.statement}" for f in self.findings.values()]
        bases = dict.fromkeys(f.basis for f in self.findings.values() if f.basis)
        return "\n".join(lines + [f"basis: {basis}" for basis in bases])


def certify(
    w0: ArrayLike,
    step_size: float,
    steps: int,
    *,
    target: float = 1.0,
    rigorous: bool = False,
) -> Certificate:
    """Certify what gradient descent on `½ (w_1 ⋯ w_D - y)²` does, from one start.

    Parameters
    ----------
    w0
        The start, shape `(D,)`, `D ≥ 2`; taken as exact float64 numbers.
    step_size, steps
        Of gradient descent.
    target
        `y > 0`.
    rigorous
        In ball arithmetic, with as many bits as it takes (at most 16,384): every statement that is
        established is then a proof for this very trajectory. Else in float64: the same theorems,
        their hypotheses checked at iterates that are themselves rounded. Needs python-flint.

    Returns
    -------
    Certificate
        `print` it, or take `.summary()`. What cannot be established is a finding, not an error.

    Raises
    ------
    ValueError
        The arguments make no sense, or JAX's x64 mode is off (float64 only).
    ImportError
        `rigorous` without python-flint.

    Notes
    -----
    The theorems, with proofs, are in `docs/scalar-networks.md`; the idea of following gradient
    descent by the sharpness of gradient flow solutions is from Kreisler, Shpigel Nacson, Soudry and
    Carmon, ICML 2023, arXiv 2305.13064.
    """
    run = _checked(w0, step_size, steps, target)
    if rigorous:
        from thalweg.scalar.rigorous import trace_rigorous

        return _certificate(run, trace_rigorous(run), True)
    if not jax.config.jax_enable_x64:  # type: ignore[attr-defined]
        raise ValueError(
            "certify works in float64: call jax.config.update('jax_enable_x64', True) first, "
            "or pass rigorous=True"
        )
    return _certificate(run, trace_float64(run), False)


def _checked(w0: ArrayLike, step_size: float, steps: int, target: float) -> ScalarRun:
    check_not_traced(w0, step_size)
    w = np.asarray(w0, np.float64)
    if w.ndim != 1 or w.size < 2 or not np.all(np.isfinite(w)):
        raise ValueError(f"w0 must hold at least two finite numbers in one dimension, got {w0!r}")
    for name, value in (("step_size", step_size), ("target", target)):
        if not 0 < value < math.inf:
            raise ValueError(f"{name} must be a positive finite number, got {value!r}")
    if isinstance(steps, bool) or not isinstance(steps, int | np.integer) or steps < 1:
        raise ValueError(f"steps must be a positive integer, got {steps!r}")
    return ScalarRun(w, float(step_size), int(steps), float(target))


def _certificate(run: ScalarRun, trace: Trace, rigorous: bool) -> Certificate:
    basis = _PROOF if rigorous else _FLOAT64
    bracket = trace.bracket
    return Certificate(
        depth=run.w0.size,
        step_size=run.step_size,
        steps=run.steps,
        target=run.target,
        rigorous=rigorous,
        monotone=_monotone(trace, basis),
        converges=_converges(trace, basis),
        final_sharpness=_final_sharpness(trace, basis),
        edge=_edge(run, trace, basis),
        bracket=(bracket.lower, bracket.upper) if bracket else None,
        trace=trace,
    )


def _monotone(trace: Trace, basis: str) -> Finding:
    if trace.rise:
        step, amount = trace.rise
        text = f"the GFS sharpness rises at step {step}, by {amount:.2g} of itself"
        return Finding("refuted", text, basis, step, -amount)
    if trace.open:
        step, margin = trace.open
        text = f"at step {step} neither one-step condition holds (best margin {margin:.2g})"
        text += ", and the GFS sharpness before and after cannot be told apart"
        return Finding("not established", text, "", step, _real(margin))
    if trace.lost:
        text = f"{_LOST[trace.lost]} at step {trace.lost_at}"
        return Finding("not established", text, "", trace.lost_at)
    counts = ", ".join(f"{number} by the {name}" for name, number in trace.by.items() if number)
    text = "the GFS sharpness never rose"
    text += f" ({trace.judged} steps: {counts})" if counts else ""
    if trace.bracket:
        text += f" and never does from step {trace.bracket.step} on (convergence condition)"
    return Finding("established", text, basis, trace.judged)


_LOST = {
    "saddle": "the flow from the iterate ends in a saddle: there is no GFS sharpness",
    "no finite number": "the run left the range of numbers",
    "undecided": "the precision allowed did not decide",
}


def _missing(trace: Trace) -> str:
    if trace.lost:
        return f"{_LOST[trace.lost]} at step {trace.lost_at}"
    assert trace.last is not None
    delta, near = trace.last
    text = f"the convergence condition holds at no step; at the last, delta = {delta:.3g}"
    if delta <= 0:
        return f"{text} is not positive"
    return f"{text}, and 1 - 50 l / gamma^2 = {near:.3g} is not positive"


def _converges(trace: Trace, basis: str) -> Finding:
    if trace.bracket is None:
        return Finding("not established", _missing(trace), "", trace.lost_at)
    step, delta = trace.bracket.step, trace.bracket.delta
    text = (
        f"the run converges: at step {step} the convergence condition holds (delta = {delta:.4g})"
    )
    return Finding("established", text, basis, step, delta)


def _final_sharpness(trace: Trace, basis: str) -> Finding:
    if trace.bracket is None:
        return Finding("not established", "no bracket without convergence")
    lower, upper = trace.bracket.lower, trace.bracket.upper
    text = f"the final sharpness is in [{lower:.17g}, {upper:.17g}]"
    return Finding("established", text, basis, trace.bracket.step, (upper - lower) / upper)


def _edge(run: ScalarRun, trace: Trace, basis: str) -> Finding:
    if trace.edge is None:
        text = "the sharpness was not seen to reach 2/step_size before the run settled"
        return Finding("not established", text)
    reached = f"the sharpness reached 2/step_size at step {trace.edge}"
    if trace.bracket is None:
        return Finding("not established", f"{reached}, but convergence is not established")
    parts = [end * run.step_size / 2 for end in (trace.bracket.lower, trace.bracket.upper)]
    text = f"{reached}, and ends at {parts[0]:.6f} to {parts[1]:.6f} of it"
    if parts[0] < EDGE:
        return Finding("not established", f"{text}: not at the edge", "", trace.edge)
    return Finding("established", text, basis, trace.edge, 1 - parts[1])


def _real(number: float) -> float | None:
    return number if math.isfinite(number) else None


def _finite(entry: dict[str, Any]) -> dict[str, Any]:
    return {k: _real(v) if isinstance(v, float) else v for k, v in entry.items()}
