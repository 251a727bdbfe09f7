"""Arguments of the Python API that make no sense: a ValueError or TypeError of one line."""

from functools import cache

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st

import thalweg as tw
from bad_inputs import PROMISED, QUESTIONS, examples
from thalweg.data import digits, load_images, training_data
from thalweg.descent import read_checkpoint, write_checkpoint
from thalweg.runs import RunFolder


def loss(w):
    return 0.5 * jnp.sum(w**2)


W = jnp.array([1.0, 2.0])
X, Y = np.arange(12.0).reshape(4, 3), np.ones(4)

WORD = st.sampled_from(["fast", "", None, [], {}, object(), (1, "a"), 1j])
NOT_POSITIVE = st.floats(max_value=0.0, allow_nan=False) | st.just(float("nan"))
NO_COUNT = WORD | st.sampled_from([0.5, 1e3, np.nan])
NEGATIVE = st.integers(max_value=-1)
HUGE = st.integers(min_value=10**13)
BAD_W = st.sampled_from(
    [
        *(jnp.array([1.0, jnp.nan]), jnp.array([jnp.inf, 1.0]), jnp.array([1, 2]), jnp.array([1j])),
        *(jnp.zeros(0), None, "w", [], {}, {"a": "b"}, object(), jnp.array([True])),
    ]
)
BAD_LOSS = st.sampled_from(
    [
        *(
            3.0,
            None,
            "loss",
            W,
            lambda w: w,
            lambda w: "high",
            lambda w: None,
            lambda w: jnp.sum(w) > 0,
        ),
        *(lambda w: jnp.eye(5) @ w, lambda w: jnp.sum(w).astype(complex), lambda: 1.0),
        *(lambda w: w[0].item(), lambda w: float(w[0]), lambda w: (jnp.sum(w), 1)),
    ]
)


def assert_refused(call, *arguments, **options):
    with pytest.raises((ValueError, TypeError)) as caught:
        call(*arguments, **options)
    message = str(caught.value)
    assert message.strip(), caught.value
    assert len(message.splitlines()) == 1, message


@examples(60, question=st.sampled_from(sorted(QUESTIONS)), w=BAD_W)
def test_parameters(question, w):
    assert_refused(QUESTIONS[question], loss, w)


@examples(60, question=st.sampled_from(sorted(QUESTIONS)), bad=BAD_LOSS)
def test_losses(question, bad):
    assert_refused(QUESTIONS[question], bad, W)


STEP_SIZES = st.one_of(
    NOT_POSITIVE,
    WORD,
    st.lists(NOT_POSITIVE, min_size=1, max_size=3),
    st.sampled_from([np.inf, [0.1, np.inf], [[0.1]], ["a"], [None]]),
)
NO_MEASUREMENT = st.sampled_from([tw.Sharpness, 3, "sharpness", None, loss, [tw.Sharpness()]])
DESCENT = st.one_of(
    st.fixed_dictionaries({"step_size": STEP_SIZES}),
    st.fixed_dictionaries({"steps": NO_COUNT | NEGATIVE | HUGE}),
    st.fixed_dictionaries({"loss_every": NO_COUNT | st.integers(max_value=0)}),
    st.fixed_dictionaries({"measurements": st.lists(NO_MEASUREMENT, min_size=1, max_size=2)}),
    st.fixed_dictionaries({"measurements": st.sampled_from([3, None, tw.Sharpness])}),
    st.fixed_dictionaries({"optimizer": st.sampled_from([3, "sgd", lambda size: 3, [1]])}),
    st.fixed_dictionaries({"report": st.sampled_from([3, "print", [1]])}),
    st.fixed_dictionaries(
        {"max_gradient_evaluations": st.floats(max_value=-1e-9) | st.sampled_from([np.nan, "x"])}
    ),
    st.fixed_dictionaries({"checkpoint": st.sampled_from([3, "checkpoint.npz", {}, object()])}),
)


@examples(120, options=DESCENT)
def test_descents(options):
    assert_refused(tw.descend, loss, W, **{"step_size": 0.1, "steps": 2} | options)


FLOW = st.one_of(
    st.fixed_dictionaries({"rtol": NOT_POSITIVE | WORD}),
    st.fixed_dictionaries({"max_gradient_evaluations": st.floats(max_value=-1e-9) | WORD}),
    st.fixed_dictionaries({"max_gradient_evaluations": st.just(float("nan"))}),
    st.fixed_dictionaries({"report": st.sampled_from([3, "print", [1]])}),
)
OF_ONE_FLOW = st.one_of(
    FLOW,
    st.fixed_dictionaries({"method": st.sampled_from(["rk4", 3, tw.flow.Stabilized, loss])}),
    st.fixed_dictionaries({"previous": st.sampled_from([3, "last", W])}),
)


@examples(60, options=OF_ONE_FLOW)
def test_flows(options):
    assert_refused(tw.gradient_flow_solution, loss, W, **options)


@examples(40, options=FLOW, level=st.floats(2.5, 1e9) | WORD | st.just(float("nan")))
def test_truncated_flows_and_falls(options, level):
    assert_refused(tw.truncated_sharpness, loss, W, level=1.0, **options)
    assert_refused(tw.truncated_sharpness, loss, W, level=level)
    assert_refused(tw.gfs_sharpness_fall, loss, W, W, **options)


EIGENPAIRS = st.one_of(
    st.fixed_dictionaries({"k": NO_COUNT | st.integers(max_value=0) | st.integers(min_value=3)}),
    st.fixed_dictionaries({"tol": NOT_POSITIVE | WORD | st.just(float("inf"))}),
    st.fixed_dictionaries({"max_products": st.integers(max_value=0) | WORD | st.just(np.nan)}),
)


@examples(60, options=EIGENPAIRS)
def test_eigenpairs(options):
    assert_refused(tw.top_eigenpairs, loss, W, **options)


SCHEDULES = st.one_of(
    st.fixed_dictionaries({"every": NO_COUNT | st.integers(max_value=0) | st.just(2**63)}),
    st.fixed_dictionaries({"start": NO_COUNT | NEGATIVE | st.just(2**63)}),
)


@examples(60, options=SCHEDULES, bad=NOT_POSITIVE | WORD)
def test_measurements(options, bad):
    assert_refused(tw.Sharpness, **options)
    assert_refused(tw.GFSSharpness, **options)
    assert_refused(tw.TruncatedSharpness, 0.1, **options)
    assert_refused(tw.Quantity, "norm", loss, **options)
    assert_refused(tw.Sharpness, tol=bad)
    assert_refused(tw.GFSSharpness, rtol=bad)


DATA = st.one_of(
    st.tuples(st.sampled_from([X * np.nan, X + np.inf, X[:2], X[:0], 3.0, "x", None]), st.just(Y)),
    st.tuples(st.just(X), st.sampled_from([Y * np.nan, Y[:2], Y[:0], 1.0, "y", None, ["a"] * 4])),
    st.just(([[1.0], [1.0, 2.0]], [1.0, 2.0])),
    st.just((X * 1j, Y)),
)


@examples(16, data=DATA)
def test_data(data):
    assert_refused(lambda x, y: tw.Supervised(predict, x, y)(jnp.ones(3)), *data)
    assert_refused(tw.SquaredRegression, *data)
    assert_refused(tw.DiagonalNetwork, *data, 3)


def predict(w, x):
    return x @ w


CLASSES = st.lists(st.integers(-9, 9), min_size=4, max_size=4)


@examples(30, bad=CLASSES, classes=st.integers(1, 3))
def test_class_numbers_beyond_the_outputs(bad, classes):
    bad[0] = bad[0] if bad[0] < 0 else bad[0] + 3

    def descend(y):
        problem = tw.Supervised(predict, X, np.array(y), "cross_entropy")
        tw.descend(problem, jnp.ones((3, classes)), step_size=0.1, steps=1)

    assert_refused(descend, bad)


NETWORKS = st.one_of(
    st.fixed_dictionaries({"depth": NO_COUNT | st.integers(max_value=1) | st.just(True)}),
    st.fixed_dictionaries(
        {"depth": st.just(3), "target": NOT_POSITIVE | WORD | st.sampled_from([np.inf, [1.0, 2.0]])}
    ),
)


@examples(60, options=NETWORKS)
def test_scalar_networks(options):
    assert_refused(tw.ScalarNetwork, **options)


CERTIFICATES = st.one_of(
    st.tuples(st.sampled_from([[1.0], [], [1.0, np.nan], "w", None, [[1.0, 2.0]]]), st.just(0.1)),
    st.tuples(st.just([1.0, 2.0]), NOT_POSITIVE | WORD | st.just(np.inf)),
)


@examples(40, chosen=CERTIFICATES, steps=NO_COUNT | NEGATIVE)
def test_certificates_and_sweeps(chosen, steps):
    w0, step_size = chosen
    assert_refused(tw.certify, w0, step_size, 3)
    assert_refused(tw.certify, [1.0, 2.0], 0.1, steps)
    assert_refused(tw.scalar_sweep, [w0], step_size, 3)
    assert_refused(tw.scalar_sweep, [[1.0, 2.0]], 0.1, steps)
    assert_refused(tw.scalar_sweep, [[1.0, 2.0]] * 9, [0.1] * 9, 3, memory_limit=99)


ERRORS = st.lists(st.floats(max_value=-1e-9), min_size=2, max_size=2) | st.sampled_from(
    [[1.0], [[1.0, 1.0]], "ab", [None, "a"]]
)


@examples(40, errors=ERRORS)
def test_verdicts(errors):
    assert_refused(tw.monotonicity, [2.0, 1.0], errors)
    assert_refused(tw.monotonicity, [2.0, 1.0], [0.1, 0.1], falls=[1.0])


@cache
def all_digits():
    return load_images("digits")


@examples(40, name=st.text(max_size=9), samples=st.integers(max_value=0) | st.integers(1798))
def test_data_sets(name, samples):
    assert_refused(load_images, name)
    assert_refused(load_images, "digits", name or ".")
    assert_refused(digits, samples)
    assert_refused(training_data, all_digits(), samples)
    assert_refused(training_data, all_digits(), 3, samples if samples < 1 else samples + 8)


@examples(40, content=st.binary(max_size=99), name=st.text(max_size=20))
def test_files_and_folders(content, name, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(content)
    assert_refused(read_checkpoint, path, W)
    for folder in (path, path / "run", f"{tmp_path}/{name}\0"):
        with pytest.raises((ValueError, OSError)):
            RunFolder.create(folder)
        with pytest.raises((ValueError, OSError)):
            RunFolder.open(folder)
        with pytest.raises((ValueError, OSError)):
            tw.results.load(folder)
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_checkpoint_of_other_measurements_is_refused(tmp_path):
    kept = []

    def report(progress):
        kept.append(progress.checkpoint())

    def norm(name):
        return tw.Quantity(name, lambda problem, w: jnp.sum(w))

    options = {"step_size": 0.1, "steps": 4}
    tw.descend(loss, W, **options, measurements=[norm("one")], report=report)
    write_checkpoint(tmp_path / "checkpoint.npz", kept[1], W)
    checkpoint, _ = read_checkpoint(tmp_path / "checkpoint.npz", W)
    assert_refused(
        tw.descend, loss, W, **options, measurements=[norm("two")], checkpoint=checkpoint
    )


def test_so_many_inputs_were_generated():
    assert sum(PROMISED.values()) >= 720
