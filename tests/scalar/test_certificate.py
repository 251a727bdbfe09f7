"""Certificates: float64 against ball arithmetic, and both against what must not be claimed."""

import json
import math
import time
from fractions import Fraction
from math import prod

import jax
import mpmath
import numpy as np
import pytest

import thalweg as tw
from thalweg.scalar import rigorous
from thalweg.scalar.trace import ScalarRun

flint = pytest.importorskip("flint")


def verdicts(found):
    return {name: finding.verdict for name, finding in found.findings.items()}


def exact_run(w, step_size, steps, digits=400):
    """Return `φ` along a run to many digits (depth 2 or 3, target 1), by bisection."""
    with mpmath.workdps(digits):
        w = [mpmath.mpf(a) for a in w]
        values = []
        for _ in range(steps + 1):
            squares = sorted(a * a for a in w)
            b = [a - squares[0] for a in squares]
            low, high = mpmath.mpf(0), mpmath.mpf(2)
            for _ in range(int(3.4 * digits)):
                x = (low + high) / 2
                low, high = (x, high) if mpmath.fprod(x + c for c in b) < 1 else (low, x)
            values.append(mpmath.fsum(1 / (low + c) for c in b))
            pi = mpmath.fprod(w)
            w = [a - mpmath.mpf(step_size) * (pi - 1) * pi / a for a in w]
        return values


def test_a_run_through_the_edge_of_stability_is_certified():
    w0, step_size = [2.0, 1.5, 1.0, 0.7, 0.3], 0.28
    found = tw.certify(w0, step_size, 1000)
    proved = tw.certify(w0, step_size, 1000, rigorous=True)
    network = tw.ScalarNetwork(5)
    measured = [tw.Sharpness(every=1000), tw.GFSSharpness(every=1000)]
    run = tw.descend(network, jax.numpy.array(w0), step_size=step_size, steps=20_000,
                     measurements=measured, loss_every=100)  # fmt: skip
    final = float(run.dataset.sharpness[0, -1])
    for one in (found, proved):
        assert set(verdicts(one).values()) == {"established"}
        assert one.bracket[0] <= final <= one.bracket[1] * (1 + 1e-12)
        assert one.bracket[1] < 2 / step_size
        assert one.edge.step < one.converges.step < 1000
        assert [label for _, label in one.marks] == [
            "sharpness reaches 2/step_size",
            "convergence established",
        ]
    assert found.bits == 53
    assert proved.bits >= 128
    assert proved.bracket == pytest.approx(found.bracket, rel=1e-9)


def test_what_is_said_of_it():
    found = tw.certify([2.0, 1.5, 1.0, 0.7, 0.3], 0.28, 1000)
    text = str(found)
    assert text.count("established:") == 4
    assert "float64" in text
    assert "rounding of the iterates is not accounted for" in text
    proved = tw.certify([2.0, 1.5, 1.0, 0.7, 0.3], 0.28, 1000, rigorous=True)
    assert "basis: proof for this trajectory" in str(proved)
    summary = json.loads(json.dumps(found.summary(), allow_nan=False))
    assert summary["monotone"]["verdict"] == "established"
    assert summary["bracket"] == list(found.bracket)
    assert summary["depth"] == 5


@pytest.mark.slow
@pytest.mark.parametrize("mode", [False, True])
def test_a_step_onto_the_saddle_is_refused_by_name(mode):
    found = tw.certify([3.0, 3.0], 0.125, 10, rigorous=mode)
    assert not any(finding.established for finding in found.findings.values())
    assert "saddle" in found.monotone.statement
    assert found.monotone.step == 1
    assert (1, "saddle") in found.marks
    json.dumps(found.summary(), allow_nan=False)


@pytest.mark.parametrize("mode", [False, True])
@pytest.mark.parametrize("w0", [[1.0, -1.0, 2.0], [0.0, 0.0], [-1.5, 1.5, 1.5, 2.0]])
def test_a_start_whose_flow_ends_in_a_saddle(mode, w0):
    found = tw.certify(w0, 0.1, 10, rigorous=mode)
    assert not found.monotone.established
    assert found.monotone.step == 0
    assert "saddle" in found.monotone.statement


@pytest.mark.slow
@pytest.mark.parametrize("mode", [False, True])
def test_balanced_starts_end_and_are_certified(mode):
    """`φ = D` exactly: no comparison of values can decide, the gap condition does."""
    found = tw.certify([0.9] * 4, 0.3, 50, rigorous=mode)
    assert found.monotone.established
    assert found.converges.established
    assert found.bracket[0] <= 4 <= found.bracket[1]
    assert found.trace.by["comparison"] == 0
    assert found.bits <= 256


@pytest.mark.slow
@pytest.mark.parametrize("mode", [False, True])
@pytest.mark.parametrize(("large", "by_gap"), [(20.0, 0), (9.0, 1)])
def test_the_gap_condition_where_a_coordinate_is_zero(mode, large, by_gap):
    """`η |π - y| |P_12| ≤ 1`, where the quotient by the smallest coordinates is 0/0."""
    found = tw.certify([0.0, 1.0, large], 0.1, 1, rigorous=mode)
    assert found.trace.by["gap condition"] == by_gap


def test_negative_products_are_followed_through_zero():
    found = tw.certify([-0.3, 1.2, 1.5], 0.2, 300, rigorous=True)
    assert found.monotone.established
    assert found.converges.established


@pytest.mark.slow
def test_float64_cannot_decide_what_ball_arithmetic_does():
    """Past the edge, two coordinates in a cycle: rises and falls of `φ` far below rounding."""
    w0, step_size = [1.2, 0.9], 1.5
    found = tw.certify(w0, step_size, 60)
    proved = tw.certify(w0, step_size, 60, rigorous=True)
    values = exact_run(w0, step_size, 60)
    rises = [t for t in range(60) if values[t + 1] > values[t]]
    assert found.monotone.verdict == "not established"
    assert proved.monotone.verdict == "refuted"
    assert proved.monotone.step == rises[0]
    amount = float((values[rises[0] + 1] - values[rises[0]]) / values[rises[0]])
    assert 0 < amount < 1e-15
    assert -proved.monotone.margin == pytest.approx(amount, rel=1e-6)


@pytest.mark.slow
def test_the_gap_condition_at_equality_up_to_the_last_bit():
    """A step size one unit in the last place below equality: rounding hides it from float64."""
    w = [0.5, 0.625, 0.25, 0.75]
    pi = prod(map(Fraction, w))
    limit = Fraction(0.25) * Fraction(0.5) / (pi * (1 - pi))
    below = float(limit)
    below = below if Fraction(below) < limit else math.nextafter(below, 0)
    found = tw.certify(w, below, 1)
    proved = tw.certify(w, below, 1, rigorous=True)
    assert found.trace.by["gap condition"] == 0
    assert proved.trace.by["gap condition"] == 1
    assert tw.certify(w, below * (1 - 1e-12), 1).trace.by["gap condition"] == 1
    above = math.nextafter(below, math.inf)
    assert Fraction(above) > limit
    assert tw.certify(w, above, 1, rigorous=True).trace.by["gap condition"] == 0


@pytest.mark.slow
def test_agreement_wherever_float64_decides():
    rng = np.random.default_rng(0)
    decided = 0
    for _ in range(40):
        depth = int(rng.integers(2, 6))
        w0 = np.exp(rng.normal(0, 0.6, depth)) * rng.choice([-1, 1], depth)
        step_size, target = rng.uniform(0.02, 0.6), float(rng.choice([1.0, 0.4, 3.0]))
        found = tw.certify(w0, step_size, 40, target=target)
        proved = tw.certify(w0, step_size, 40, target=target, rigorous=True)
        for name, finding in found.findings.items():
            if finding.established:
                assert proved.findings[name].established, (w0, step_size, name)
                decided += 1
            if finding.verdict == "refuted":
                assert proved.findings[name].verdict == "refuted"
        if found.bracket and proved.bracket:
            assert found.bracket == pytest.approx(proved.bracket, rel=1e-6)
    assert decided > 40


def test_gfs_sharpness_in_balls_is_that_of_the_closed_form():
    rng = np.random.default_rng(3)
    for depth in (2, 4, 9):
        for target in (1.0, 5.0):
            w = np.exp(2 * rng.standard_normal(depth)) * rng.choice([-1, 1], depth)
            exact = tw.ScalarNetwork(depth, target).flow_limits(w[None])
            ball = rigorous._BallIterate([flint.arb(a) for a in w], flint.arb(target)).gfs_sharpness
            assert abs(float(ball.mid()) - exact.sharpness[0]) <= exact.error[0]
            assert float(ball.rad()) < 1e-12 * exact.sharpness[0]


@pytest.mark.slow
@pytest.mark.parametrize("w", [[0.2, 1.0, 2.0], [-0.7, 1.2, 1.5], [2.0, 1.5, 1.0, 0.7]])
def test_the_sharpness_is_proved_to_reach_what_it_reaches_and_no_more(w):
    point = rigorous._BallIterate([flint.arb(a) for a in w], flint.arb(1))
    truth = float(tw.ScalarNetwork(len(w)).sharpness(jax.numpy.array(w)))
    assert point.is_as_sharp_as(flint.arb(truth * (1 - 1e-9)))
    assert not point.is_as_sharp_as(flint.arb(truth * (1 + 1e-9)))


def test_balls_that_are_wide_decide_nothing():
    wide = flint.arb(1, 0.5)
    point = rigorous._BallIterate([wide, wide], flint.arb(1))
    narrow = rigorous._BallIterate([flint.arb(1), flint.arb("0.9", "0.2")], flint.arb(1))
    assert point.gfs_sharpness is None or point.gfs_sharpness.rad() > 0.1
    assert narrow.ends_in_minimiser()
    crossing = rigorous._BallIterate([flint.arb(0, 0.1), flint.arb(0, 0.2)], flint.arb(1))
    assert not crossing.ends_in_minimiser()
    assert not crossing.ends_in_saddle()


def test_too_few_bits_are_said_and_the_precision_is_put_back():
    before = flint.ctx.prec
    run = ScalarRun(np.array([2.0, 1.5, 1.0, 0.7, 0.3]), 0.42, 1000, 1.0)
    trace = rigorous.trace_rigorous(run, most_bits=128)
    assert trace.lost or trace.open
    assert trace.bracket is None
    assert flint.ctx.prec == before


@pytest.mark.slow
def test_a_diverging_run():
    for mode in (False, True):
        found = tw.certify([10.0, 10.5], 1.0, 50, rigorous=mode)
        assert not found.converges.established
        assert "left the range" in found.converges.statement


def test_it_is_quick():
    w0 = [2.0, 1.5, 1.0, 0.7, 0.3]
    tw.certify(w0, 0.42, 1000)
    start = time.process_time()
    tw.certify(w0, 0.42, 1000)
    assert time.process_time() - start < 0.1
    start = time.process_time()
    tw.certify(w0, 0.42, 1000, rigorous=True)
    assert time.process_time() - start < 10


def test_the_extra_is_asked_for_in_one_line(monkeypatch):
    monkeypatch.setattr(rigorous, "flint", None)
    with pytest.raises(ImportError, match=r"pip install 'thalweg\[rigorous\]'"):
        tw.certify([1.0, 2.0], 0.1, 3, rigorous=True)


def test_float32_is_refused_with_advice():
    with jax.enable_x64(False), pytest.raises(ValueError, match="jax_enable_x64"):
        tw.certify([1.0, 2.0], 0.1, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1.0], 0.1, 3), "w0"),
        (([[1.0, 2.0]], 0.1, 3), "w0"),
        (([1.0, math.nan], 0.1, 3), "w0"),
        (([1.0, 2.0], 0.0, 3), "step_size"),
        (([1.0, 2.0], math.inf, 3), "step_size"),
        (([1.0, 2.0], 0.1, 0), "steps"),
        (([1.0, 2.0], 0.1, 2.5), "steps"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        tw.certify(*arguments)
    with pytest.raises(ValueError, match="target"):
        tw.certify([1.0, 2.0], 0.1, 3, target=-1.0)


@pytest.mark.parametrize("mode", [False, True])
def test_a_rise_is_refuted(mode):
    w0, step_size = [0.1, 0.3, 5.0], 0.5
    found = tw.certify(w0, step_size, 3, rigorous=mode)
    values = exact_run(w0, step_size, 1, digits=60)
    assert values[1] > values[0]
    assert found.monotone.verdict == "refuted"
    assert found.monotone.step == 0
    assert -found.monotone.margin == pytest.approx(float(values[1] / values[0]) - 1, rel=1e-9)
