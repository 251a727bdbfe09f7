"""The verdict against a brute-force reading of its definition, and its hard corners."""

import json
import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from thalweg.verdict import Step, monotonicity

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


def certain_rises(pairs, known):
    """All rises beyond the bars, from the definition: by how much at least, where, and the rise."""
    n, found = len(pairs), []
    for i in range(n):
        for j in range(i + 1, n):
            least = interval(*pairs[j])[0] - interval(*pairs[i])[1]
            found.append((least, (i, j), pairs[j][0] - pairs[i][0], pairs[i][1] + pairs[j][1]))
    for i, (fall, error) in enumerate(known or []):
        found.append((-interval(fall, error)[1], (i, i + 1), -fall, error))
    return [rise for rise in found if rise[0] > 0]


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


@settings(max_examples=250, deadline=None)
@given(sequences())
@example(([(1.0, 0.0), (2.0, 0.0), (0.5, 0.0)], [(-3.0, 0.0), (1.5, 0.0)]))
def test_where_it_rises_and_falls_is_that_of_the_definition(sequence):
    pairs, known = sequence
    answer, rises = ask(pairs, known), certain_rises(pairs, known)
    found = answer.largest_rise
    assert (found is None) == (rises == [])
    if found is not None:
        largest = max(size for _, _, size, _ in rises)
        candidates = [rise for rise in rises if rise[2] == largest]
        assert (found.between, found.size, found.error) in [rise[1:] for rise in candidates]
    placed = [i for i, pair in enumerate(pairs) if math.isfinite(sum(pair))]
    first = max([0, *(between[0] + 1 for _, between, _, _ in rises)])
    later = [i for i in placed if i >= first]
    assert answer.decreasing_from == (later[0] if len(later) > 1 else None)
    if len(placed) < 2:
        assert answer.net_fall is None
    else:
        assert answer.net_fall.between == (placed[0], placed[-1])
        assert answer.net_fall.size == pairs[placed[0]][0] - pairs[placed[-1]][0]
        assert answer.net_fall.error == pairs[placed[0]][1] + pairs[placed[-1]][1]


def test_a_rise_at_the_start_is_told_with_its_place_and_what_comes_after():
    """As the main job's does: up at first, by a little, and then down by a quarter."""
    values = [12.2004, 12.2117, 12.2158, 12.2149, 11.0, 9.05]
    steps = [0, 10, 50, 100, 500, 12_000]
    answer = monotonicity(values, [0.0012] * 6, at=steps)
    assert answer.verdict == "not decreasing"
    assert answer.largest_rise.between == (0, 50)
    assert answer.largest_rise.size == pytest.approx(0.0154)
    assert answer.largest_rise.error == pytest.approx(0.0024)
    assert answer.largest_rise.relative == pytest.approx(0.00126, abs=1e-5)
    assert answer.decreasing_from == 50
    assert answer.net_fall.between == (0, 12_000)
    assert answer.net_fall.relative == pytest.approx(0.258, abs=1e-3)
    assert monotonicity(values[2:], [0.0012] * 4, at=steps[2:]).largest_rise is None


def test_the_largest_rise_is_not_the_one_with_the_narrowest_bars():
    answer = monotonicity([12.2, 12.216, 12.215], [0.0012, 0.0012, 0.0001], at=[0, 50, 100])
    assert answer.largest_rise.between == (0, 50)


def test_what_rises_to_the_end_falls_from_nowhere():
    answer = monotonicity([1.0, 2.0, math.nan, 3.0], [0.1] * 4)
    assert (answer.decreasing_from, answer.net_fall.size) == (None, -2.0)
    assert answer.largest_rise.between == (0, 3)


def test_a_relative_change_of_nothing_is_not_known():
    answer = monotonicity([0.0, 1.0], [0.1, 0.1])
    assert math.isnan(answer.largest_rise.relative)
    assert answer.summary()["largest_rise"]["relative"] is None


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
    assert monotonicity([3.0, 2.0, 2.5], [0.0, 0.0, 0.0], at=[0, 5, 9]).summary() == {
        "verdict": "not decreasing",
        "falls": 1,
        "rises": 1,
        "undecided": 0,
        "largest_possible_rise": 0.5,
        "largest_rise": {"size": 0.5, "error": 0.0, "relative": 0.25, "between": [5, 9]},
        "net_fall": {"size": 0.5, "error": 0.0, "relative": 0.5 / 3.0, "between": [0, 9]},
        "decreasing_from": None,
    }
    assert json.loads(json.dumps(monotonicity([], []).summary()))["largest_rise"] is None


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
        (([1.0, 2.0], [0.1, 0.1]), {"at": [0]}, "at must hold one integer for each of the 2"),
        (([1.0, 2.0], [0.1, 0.1]), {"at": [0.5, 1.0]}, "at must hold one integer"),
    ],
)
def test_nonsense_is_refused(args, keywords, message):
    with pytest.raises(ValueError, match=message):
        monotonicity(*args, **keywords)
