"""The verdict against a brute-force reading of its definition, and its hard corners."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from thalweg.theory import Step, monotonicity

# Small integers over 4: sums and differences are exact, and ties and contradictions are common.
quarters = st.integers(-12, 12).map(lambda number: number / 4)
bars = st.integers(0, 6).map(lambda number: number / 4)
unknown = st.sampled_from([math.nan, math.inf, -math.inf])
values = st.one_of(quarters, quarters, quarters, unknown)
errors = st.one_of(bars, bars, bars, st.sampled_from([math.nan, math.inf]))


@st.composite
def sequences(draw):
    pairs = draw(st.lists(st.tuples(values, errors), max_size=7))
    steps = max(len(pairs) - 1, 0)
    known = draw(st.lists(st.tuples(values, errors), min_size=steps, max_size=steps))
    return pairs, draw(st.sampled_from([known, None]))


def interval(value, error):
    if not (math.isfinite(value) and math.isfinite(error)):
        return -math.inf, math.inf
    return value - error, value + error


def fall_bar(here, after, known):
    """The bar of one fall, from the definition: the sharper one, or the span of disjoint ones."""
    (low, high), (next_low, next_high) = interval(*here), interval(*after)
    own = (low - next_high, high - next_low)
    if known is None:
        return own
    other = interval(*known)
    if max(own[0], other[0]) > min(own[1], other[1]):
        return min(own[0], other[0]), max(own[1], other[1])
    return min(own, other, key=lambda bar: bar[1] - bar[0])


def brute_force(pairs, known):
    n = len(pairs)
    falls = [fall_bar(pairs[i], pairs[i + 1], known and known[i]) for i in range(n - 1)]
    steps = [1 if high < 0 else -1 if low > 0 else 0 for low, high in falls]
    rises = any(
        interval(*pairs[j])[0] > interval(*pairs[i])[1] for j in range(n) for i in range(j)
    ) or any(interval(*fall)[1] < 0 for fall in known or [])
    if rises:
        verdict = "not decreasing"
    elif steps and all(step == -1 for step in steps):
        verdict = "decreasing"
    else:
        verdict = "undecided"
    return verdict, steps, max([0.0, *(-low for low, _ in falls)])


def ask(pairs, known=None):
    keywords = {}
    if known is not None:
        keywords = {"falls": [d for d, _ in known], "fall_errors": [f for _, f in known]}
    return monotonicity([v for v, _ in pairs], [e for _, e in pairs], **keywords)


@settings(max_examples=250, deadline=None)
@given(sequences())
@example(([], []))
@example(([(math.inf, math.inf), (-math.inf, math.nan)], [(math.inf, 1.0)]))
def test_the_answer_is_that_of_the_definition(sequence):
    pairs, known = sequence
    answer = ask(pairs, known)
    verdict, steps, rise = brute_force(pairs, known)
    assert answer.verdict == verdict
    assert answer.steps.tolist() == steps
    assert answer.largest_possible_rise == rise
    assert (answer.falls, answer.rises) == (steps.count(-1), steps.count(1))
    assert answer.falls + answer.rises + answer.undecided == len(steps)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(quarters, st.sampled_from([0.25, 0.5, 1.0, math.inf])), max_size=6),
    st.randoms(use_true_random=False),
)
def test_a_verdict_holds_for_whatever_is_within_the_bars(measured, random):
    """Soundness, without the definition: true values drawn within the bars never contradict."""
    true = [v + random.uniform(-1, 1) * min(e, 10.0) for v, e in measured]
    answer = ask(measured)
    truly_falls = all(a > b for a, b in pairwise(true))
    truly_rises = max([0.0, *(b - a for a, b in pairwise(true))])
    if answer.verdict == "decreasing":
        assert truly_falls
    if answer.verdict == "not decreasing":
        assert not truly_falls
    assert truly_rises <= answer.largest_possible_rise + 1e-12


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.floats(-1e300, 1e300), st.floats(0, 1e300)), max_size=6),
)
def test_counts_and_verdict_agree_in_floating_point(pairs):
    answer = ask(pairs)
    if answer.rises:
        assert answer.verdict == "not decreasing"
    if answer.verdict == "decreasing":
        assert answer.falls == len(pairs) - 1
        assert answer.largest_possible_rise == 0
    if answer.verdict == "not decreasing":
        assert answer.largest_possible_rise > 0


def test_inexact_sums_do_not_make_a_step_and_the_verdict_disagree():
    # 0.3 - 0.1 > 0.1 + 0.1 is a tie on paper; rounding decides, but the same way everywhere.
    generator = np.random.default_rng(0)
    for _ in range(2000):
        a, e, f = generator.integers(1, 50, 3) / 10
        answer = monotonicity([a, a + e + f], [e, f])
        assert (answer.rises == 1) == (answer.verdict == "not decreasing")


def test_an_exactly_constant_sequence_is_undecided_with_no_rise_possible():
    answer = monotonicity([2.0, 2.0, 2.0], [0.0, 0.0, 0.0])
    assert answer.verdict == "undecided"
    assert answer.undecided == 2
    assert answer.largest_possible_rise == 0.0
    assert math.copysign(1.0, answer.largest_possible_rise) == 1.0


@pytest.mark.parametrize("n", [0, 1])
def test_fewer_than_two_values_decide_nothing(n):
    answer = monotonicity([1.0] * n, [0.1] * n, falls=[math.nan] * n, fall_errors=[math.nan] * n)
    assert (answer.verdict, len(answer.steps), answer.largest_possible_rise) == ("undecided", 0, 0)


def test_a_value_that_is_not_known_decides_nothing_but_hides_nothing():
    falling = monotonicity([3.0, math.nan, 1.0], [0.1, 0.1, 0.1])
    assert falling.verdict == "undecided"
    assert falling.undecided == 2
    assert falling.largest_possible_rise == math.inf
    assert falling.summary()["largest_possible_rise"] is None
    rising = monotonicity([1.0, math.nan, 3.0], [0.1, 0.1, 0.1])
    assert (rising.verdict, rising.rises) == ("not decreasing", 0)


def test_known_falls_decide_where_values_do_not():
    loose = ([2.0, 1.999, 1.998], [0.1, 0.1, 0.1])
    answer = monotonicity(*loose, falls=[1e-3, 1e-3, math.nan], fall_errors=[1e-5, 1e-5, math.nan])
    assert (answer.verdict, answer.largest_possible_rise) == ("decreasing", 0.0)
    assert monotonicity(*loose).verdict == "undecided"
    # Known at one step only.
    answer = monotonicity(*loose, falls=[1e-3, math.nan], fall_errors=[1e-5, math.nan])
    assert (answer.verdict, answer.falls, answer.undecided) == ("undecided", 1, 1)
    assert answer.largest_possible_rise == pytest.approx(0.199)
    # Known to rise.
    answer = monotonicity(*loose, falls=[1e-3, -1e-3], fall_errors=[1e-5, 1e-5])
    assert (answer.verdict, answer.rises) == ("not decreasing", 1)


def test_a_blunter_known_fall_takes_nothing_away():
    answer = monotonicity([2.0, 1.0], [0.1, 0.1], falls=[1.0], fall_errors=[5.0])
    assert answer.verdict == "decreasing"


def test_a_rise_shown_by_the_blunter_bar_alone_still_counts():
    # The values' bar of the fall, [-2, 0.5], is the sharper; the known fall is within [-19, -1].
    answer = monotonicity([1.0, 1.75], [0.625, 0.625], falls=[-10.0], fall_errors=[9.0])
    assert (answer.verdict, answer.undecided) == ("not decreasing", 1)


def test_bars_that_contradict_each_other_never_give_decreasing():
    answer = monotonicity([1.0, 2.0], [0.1, 0.1], falls=[1.0], fall_errors=[0.01])
    assert answer.verdict == "not decreasing"
    assert [Step(step) for step in answer.steps] == [Step.UNDECIDED]
    assert answer.largest_possible_rise == pytest.approx(1.2)


def test_the_summary_is_the_contracts():
    assert monotonicity([3.0, 2.0, 2.5], [0.0, 0.0, 0.0]).summary() == {
        "verdict": "not decreasing",
        "falls": 1,
        "rises": 1,
        "undecided": 0,
        "largest_possible_rise": 0.5,
    }


@pytest.mark.parametrize(
    ("args", "keywords", "message"),
    [
        (([1.0, 2.0], [0.1, -0.1]), {}, "errors must not be negative"),
        (([1.0, 2.0], [0.1, -math.inf]), {}, "errors must not be negative"),
        (([1.0, 2.0], [0.1]), {}, "same length"),
        (([[1.0, 2.0]], [[0.1, 0.1]]), {}, "one-dimensional"),
        ((1.0, 0.1), {}, "one-dimensional"),
        (([1.0, 2.0], [0.1, 0.1]), {"falls": [1.0]}, "give both or neither"),
        (([1.0, 2.0], [0.1, 0.1]), {"fall_errors": [1.0]}, "give both or neither"),
        (([1.0, 2.0], [0.1, 0.1]), {"falls": [1.0], "fall_errors": [-1.0]}, "fall_errors must not"),
        (([1.0, 2.0], [0.1, 0.1]), {"falls": [1.0] * 2, "fall_errors": [1.0] * 2}, "one entry per"),
        (([1.0, 2.0], [0.1, 0.1]), {"falls": [], "fall_errors": []}, "one entry per step"),
        (([1.0], [0.1]), {"falls": [1.0], "fall_errors": [1.0]}, "one entry per step"),
    ],
)
def test_nonsense_is_refused(args, keywords, message):
    with pytest.raises(ValueError, match=message):
        monotonicity(*args, **keywords)
