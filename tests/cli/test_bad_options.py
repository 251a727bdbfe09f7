"""Options and commands that make no sense: one line, exit code 2, and nothing is touched."""

import dataclasses
import string
import types
import typing

import pytest
from hypothesis import strategies as st

from bad_inputs import PROMISED, assert_refused, examples
from thalweg.experiments import EXPERIMENTS, Study

OPTIONS = [
    (name, field.name, hint)
    for name, kind in EXPERIMENTS.items()
    for field in dataclasses.fields(kind)
    for hint in [typing.get_type_hints(kind)[field.name]]
]
"""Every option of every experiment: its name and its type."""

MAY_BE_ZERO = {"gfs_start", "gfs_also", "gfs_at", "gfs_steps", "seed", "data_seed"}
ANY_NUMBER = {("scalar", "init")}
MAY_BE_HUGE = {  # for a schedule, a seed, or what matters to some of the networks only
    *(
        "gfs_every",
        "sharpness_every",
        "gfs_start",
        "gfs_also",
        "gfs_at",
        "gfs_points",
        "seed",
        "data_seed",
        "patch",
        "heads",
        "lanes",  # never more than there are values
    ),
}

NO_NUMBER = st.sampled_from(["fast", "1e", "0x1G", "1,5", "1 2", "½", "one", "1e5e5", "٣x"])
NO_INTEGER = NO_NUMBER | st.sampled_from(["1.5", "nan", "inf", "1e3", "-0.5", "9" * 5000])
NOT_FINITE = st.sampled_from(["nan", "inf", "-inf", "1e400", "-1e999", "NaN", "Infinity"])
NOT_POSITIVE = st.floats(max_value=0.0, allow_nan=False, allow_infinity=False).map(repr)
BELOW_ZERO = st.integers(max_value=-1).map(str)
TOO_LARGE = st.integers(min_value=2**63).map(str)
WORDS = st.text(string.ascii_letters + string.digits + " äß→\t\n\u2028\x1b[]│─╭'\"%{}", min_size=1)


def kinds(hint):
    """Return the types that an option may have, and whether it takes several values."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        parts = [part for part in typing.get_args(hint) if part is not type(None)]
        hint = parts[-1]  # of `int | tuple[int, ...]` the second
    if typing.get_origin(hint) is tuple:
        return typing.get_args(hint)[0], True
    return hint, False


@st.composite
def bad_options(draw):
    """Return an experiment and an option with a value that makes no sense."""
    name, option, hint = draw(st.sampled_from(OPTIONS))
    kind, several = kinds(hint)
    flag = "--" + option.replace("_", "-")
    if kind is bool:
        return name, [flag, draw(WORDS.filter(lambda word: word.strip()))]
    if kind is float:
        bad = NO_NUMBER | NOT_FINITE
        bad = bad if (name, option) in ANY_NUMBER else bad | NOT_POSITIVE
    elif kind is int:
        bad = NO_INTEGER | BELOW_ZERO | TOO_LARGE
        bad = bad if option in MAY_BE_ZERO else bad | st.just("0")
    else:  # a choice; or the folder of data, which the default data do not want
        bad = WORDS.filter(lambda word: word.strip() and word not in typing.get_args(kind))
    value = draw(bad)
    if not several and draw(st.booleans()):
        return name, [f"{flag}={value}"]
    more = draw(st.lists(st.just("1"), max_size=2)) if several else []
    place = draw(st.integers(0, len(more)))
    return name, [flag, *more[:place], value, *more[place:]]


@pytest.fixture
def scratch(tmp_path):
    (tmp_path / "file").write_text("precious")
    return tmp_path


@pytest.mark.slow
@examples(350, chosen=bad_options())
def test_a_value_that_makes_no_sense(chosen, scratch):
    name, options = chosen
    assert_refused(scratch, "run", name, "--out", scratch / "out", *options)


@pytest.mark.slow
@examples(60, chosen=st.sampled_from([one for one in OPTIONS if kinds(one[2])[0] is int]),
          size=st.integers(10**13, 2**63 - 1))  # fmt: skip
def test_absurd_sizes_are_refused_before_they_are_tried(chosen, size, scratch):
    name, option, _ = chosen
    if option in MAY_BE_HUGE:
        option = "steps"
    command = ["run", name, "--out", scratch / "out", "--" + option.replace("_", "-"), size]
    assert_refused(scratch, *command)


NAMES, DASHES = st.sampled_from(sorted(EXPERIMENTS)), st.sampled_from(["", "-", "--"])


@pytest.mark.slow
@examples(60, name=NAMES, word=WORDS, dashes=DASHES)
def test_options_that_do_not_exist(name, word, dashes, scratch):
    # No option begins with this, and nothing can be left over.
    assert_refused(scratch, "run", name, "--out", scratch / "out", f"{dashes}zz{word}")


COMMANDS = ("run", "resume", "plot", "reproduce", "list")


@pytest.mark.slow
@examples(60, word=st.text() | WORDS, rest=st.lists(WORDS, max_size=2))
def test_commands_and_experiments_that_do_not_exist(word, rest, scratch):
    if word in (*COMMANDS, "-h", "--help") or word in EXPERIMENTS:
        word += "?"
    assert_refused(scratch, word, *rest)
    assert_refused(scratch, "run", word if word not in ("-h", "--help") else "x", *rest)
    assert_refused(scratch, "list", word)


def numbers(count):
    return st.lists(st.floats(0.1, 2.0).map(repr), min_size=count, max_size=count)


CONTRADICTIONS = st.one_of(
    st.integers(2, 9).flatmap(
        lambda depth: (
            st.integers(1, 9)
            .filter(lambda count: count != depth)
            .flatmap(numbers)
            .map(lambda init: ["scalar", "--depth", depth, "--init", *init])
        )
    ),
    st.integers(1, 9).map(lambda steps: ["scalar", "--rigorous", "--steps", steps]),
    st.integers(10**13, 2**63 - 1).map(
        lambda steps: ["digits-mlp", "--relative-step-size", 1, "--step-size", "--steps", steps]
    ),
    st.integers(0, 1).map(lambda depth: ["scalar", "--depth", depth]),
    numbers(1).map(lambda size: ["network", "--step-size", *size, "--relative-step-size", *size]),
    st.integers(1, 9).map(
        lambda width: ["network", "--architecture", "transformer", "--widths", width, width + 1]
    ),
    st.integers(3, 9).map(
        lambda heads: [
            *("network", "--architecture", "transformer", "--heads", heads, "--widths", heads + 1)
        ]
    ),
    st.integers(1, 9).map(
        lambda width: ["network", "--architecture", "resnet", "--widths", width + 1, width]
    ),
    st.integers(9, 10**9).map(lambda size: ["network", "--image-size", size]),
    st.integers(1798, 10**18).map(lambda samples: ["network", "--samples", samples]),
    st.integers(1798, 10**18).map(lambda samples: ["digits-mlp", "--samples", samples]),
    st.just(["network", "--data", "cifar10"]),
    st.integers(1, 9).map(
        lambda count: ["squared-regression", "--data", "random", "--nonzero", count]
    ),
    st.integers(1, 40).map(
        lambda count: ["squared-regression", "--data", "diabetes", "--dimension", count]
    ),
    st.integers(1, 40).map(
        lambda count: ["squared-regression", "--nonzero", count + 1, "--dimension", count]
    ),
    st.integers(443, 10**6).map(
        lambda count: ["squared-regression", "--data", "diabetes", "--samples", count]
    ),
    st.floats(0.1, 9.0).map(
        lambda end: ["scalar-bifurcation", "--lowest", end, "--highest", end / 2]
    ),
    st.integers(1000, 10**6).map(
        lambda count: ["scalar-sweep", "--starts", count, "--step-sizes", 10**5]
    ),
    st.lists(st.just("1.0"), min_size=3, max_size=5).map(
        lambda init: ["scalar-plane", "--init", *init]
    ),
    st.floats(1e100, 1e300).map(lambda number: ["scalar", "--init", *[str(number)] * 4]),
    st.floats(1e101, 1e300).map(lambda target: ["scalar-sweep", "--target", target]),
    st.floats(51.0, 1e300).map(lambda spread: ["scalar-sweep", "--spread", spread]),
    st.floats(1e6, 1e300).map(lambda number: ["scalar-plane", "--init", number, 1]),
)


@pytest.mark.slow
@examples(100, options=CONTRADICTIONS)
def test_options_that_contradict_each_other_or_the_data(options, scratch):
    assert_refused(scratch, "run", *options, "--out", scratch / "out")


BUDGETS = st.sampled_from(["--max-time", "--max-evaluations"]).flatmap(
    lambda option: st.tuples(st.just(option), NO_NUMBER | NOT_POSITIVE | st.just("nan"))
)


@examples(40, budget=BUDGETS, command=st.sampled_from(["run", "resume"]))
def test_budgets_that_make_no_sense(budget, command, scratch):
    descents = [name for name, kind in EXPERIMENTS.items() if not issubclass(kind, Study)]
    given = ["run", descents[0], "--out"] if command == "run" else ["resume"]
    assert_refused(scratch, *given, scratch / "out", *budget)


@pytest.mark.parametrize(
    "arguments",
    [
        ["run"],
        ["run", "scalar"],
        ["run", "scalar", "--out"],
        ["run", "scalar", "OUT"],
        ["run", "scalar", "--out", "OUT", "OUT"],
        ["run", "scalar", "--out", "OUT", "--init"],
        ["run", "scalar-sweep", "--out", "OUT", "--max-time", "3"],
        ["resume"],
        ["resume", "OUT", "OUT"],
        ["resume", "OUT", "--out", "OUT"],
        ["plot"],
        ["plot", "OUT", "OUT"],
        ["reproduce"],
        ["reproduce", "--out", "OUT", "--quick", "--full"],
        ["reproduce", "--out", "OUT", "--steps", "3"],
        ["reproduce", "OUT"],
        ["list", "--all"],
    ],
)
def test_arguments_that_are_missing_or_left_over(arguments, scratch):
    places = {"OUT": scratch / "out"}
    assert_refused(scratch, *(places.get(word, word) for word in arguments))


def test_so_many_inputs_were_generated():
    assert sum(PROMISED.values()) >= 670
