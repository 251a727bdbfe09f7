"""Networks: shapes, sizes, outputs against NumPy and SciPy, sharpness against dense Hessians."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from scipy.signal import correlate2d
from scipy.special import erf

import thalweg as tw
from marks import slow
from thalweg.models import (
    ACTIVATIONS,
    mlp,
    mlp_init,
    resnet,
    resnet_init,
    transformer,
    transformer_init,
    vgg,
    vgg_init,
)

RNG = np.random.default_rng(0)
IMAGE = (4, 6, 2)
X = RNG.normal(size=(5, *IMAGE))
Y = np.eye(3)[RNG.integers(0, 3, 5)]
KEY = jax.random.key(1)
NETWORKS = {
    "mlp": (mlp, mlp_init(KEY, (48, 5, 3))),
    "vgg": (vgg, vgg_init(KEY, IMAGE, 3, channels=(2, 3), convolutions=2, hidden=(4,))),
    "resnet": (resnet, resnet_init(KEY, IMAGE, 3, channels=(2, 3), blocks=2)),
    "transformer": (transformer, transformer_init(KEY, IMAGE, 3, width=4, depth=2)),
}


def size(w):
    return ravel_pytree(w)[0].size


def perturbed(w):
    """Return parameters none of which is zero or one, so that each has its part in the outputs."""
    flat, unravel = ravel_pytree(w)
    return unravel(flat + 0.3 * jax.random.normal(jax.random.key(2), flat.shape))


@pytest.mark.parametrize(
    ("predict", "w", "loss"),
    [
        (mlp, NETWORKS["mlp"][1], "squared"),
        (partial(mlp, activation=ACTIVATIONS["softplus"]), NETWORKS["mlp"][1], "squared"),
        (vgg, vgg_init(KEY, IMAGE, 3, channels=(2,), hidden=()), "squared"),
        *slow((resnet, resnet_init(KEY, IMAGE, 3, channels=(2,)), "squared")),
        *slow((transformer, transformer_init(KEY, IMAGE, 3, width=2, heads=1), "cross_entropy")),
    ],
)
def test_sharpness_is_that_of_a_hessian_by_differences(predict, w, loss):
    problem = tw.Supervised(predict, X, Y, loss=loss)
    flat, unravel = ravel_pytree(w)
    gradient = jax.jit(jax.grad(lambda v: problem(unravel(v))))
    steps = 1e-4 * np.eye(flat.size)
    columns = [(gradient(flat + d) - gradient(flat - d)) / 2e-4 for d in steps]
    hessian = np.asarray(columns)
    np.testing.assert_allclose(hessian, hessian.T, atol=1e-6)
    top = np.linalg.eigvalsh(hessian)[-1]
    assert tw.sharpness(problem, w) == pytest.approx(top, rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_samples_do_not_influence_each_other(name):
    predict, w = jax.jit(NETWORKS[name][0]), NETWORKS[name][1]
    together = predict(w, X)
    assert together.shape == (5, 3)
    one_by_one = [predict(w, X[i : i + 1])[0] for i in range(5)]
    np.testing.assert_allclose(together, np.asarray(one_by_one), atol=1e-13)


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_every_parameter_has_a_part_in_the_outputs(name):
    predict, w = NETWORKS[name]
    flat, unravel = ravel_pytree(perturbed(w))
    jacobian = jax.jacrev(lambda v: predict(unravel(v), X))(flat)
    moved = np.abs(np.asarray(jacobian)).max(axis=(0, 1)) > 1e-12
    if name == "transformer":  # softmax does not see a constant added to all keys' scores
        keys = unravel(jnp.zeros(flat.size))
        for block in keys["blocks"]:
            block["query_key_value"]["bias"] = block["query_key_value"]["bias"].at[1].set(1.0)
        moved |= np.asarray(ravel_pytree(keys)[0]) == 1
    assert moved.all()


def test_parameter_counts():
    conv = lambda a, b: 9 * a * b + b  # noqa: E731
    assert size(NETWORKS["mlp"][1]) == 48 * 5 + 5 + 5 * 3 + 3
    stages = conv(2, 2) + conv(2, 2) + conv(2, 3) + conv(3, 3)
    assert size(NETWORKS["vgg"][1]) == stages + (1 * 1 * 3 * 4 + 4) + (4 * 3 + 3)
    blocks = 4 * conv(2, 2) + conv(2, 3) + 3 * conv(3, 3)
    assert size(NETWORKS["resnet"][1]) == conv(2, 2) + blocks + 3 * 3 + 3
    block = (4 * 12 + 12) + (4 * 4 + 4) + (4 * 8 + 8) + (8 * 4 + 4) + 4 * 4
    assert size(NETWORKS["transformer"][1]) == (8 * 4 + 4) + 6 * 4 + 2 * block + 8 + (4 * 3 + 3)


@pytest.mark.slow
def test_initial_scales():
    weight = vgg_init(KEY, (8, 8, 16), 10, channels=(64,))["stages"][0][0]["weight"]
    assert weight.shape == (3, 3, 16, 64)
    assert float(jnp.var(weight)) == pytest.approx(1 / (9 * 16), rel=0.05)
    block = resnet_init(KEY, (8, 8, 1), 10, channels=(32, 32), blocks=2)["stages"][0][0]
    ratio = float(jnp.std(block["first"]["weight"]) / jnp.std(block["second"]["weight"]))
    assert ratio == pytest.approx(4**0.5, rel=0.05)
    assert vgg_init(KEY, IMAGE, 3, channels=(2,), dtype=jnp.float32)["dense"][0][
        "bias"
    ].dtype == np.float32  # fmt: skip


def test_activations_are_what_they_are_called():
    x = RNG.normal(size=7)
    exact = {
        "tanh": np.tanh(x),
        "relu": np.maximum(x, 0),
        "gelu": x * (1 + erf(x / 2**0.5)) / 2,
        "softplus": np.log1p(np.exp(x)),
    }
    assert set(ACTIVATIONS) == set(exact)
    for name, values in exact.items():
        np.testing.assert_allclose(ACTIVATIONS[name](jnp.asarray(x)), values, atol=1e-14)


def convolve(layer, x):
    weight, bias = np.asarray(layer["weight"]), np.asarray(layer["bias"])
    y = np.zeros((*x.shape[:3], weight.shape[-1]))
    for n, i, o in np.ndindex(x.shape[0], weight.shape[2], weight.shape[3]):
        y[n, :, :, o] += correlate2d(x[n, :, :, i], weight[:, :, i, o], mode="same")
    return y + bias


def pool(x):
    x = x[:, : x.shape[1] // 2 * 2, : x.shape[2] // 2 * 2]
    return (x[:, ::2, ::2] + x[:, 1::2, ::2] + x[:, ::2, 1::2] + x[:, 1::2, 1::2]) / 4


def affine(layer, x):
    return x @ np.asarray(layer["weight"]) + np.asarray(layer["bias"])


def test_vgg_against_scipy():
    w = perturbed(NETWORKS["vgg"][1])
    y = X
    for stage in w["stages"]:
        for layer in stage:
            y = np.tanh(convolve(layer, y))
        y = pool(y)
    hidden, head = w["dense"]
    y = affine(head, np.tanh(affine(hidden, y.reshape(5, -1))))
    np.testing.assert_allclose(vgg(w, jnp.asarray(X)), y, atol=1e-12)


def test_resnet_against_scipy():
    w = perturbed(NETWORKS["resnet"][1])
    y = convolve(w["stem"], X)
    for number, stage in enumerate(w["stages"]):
        y = pool(y) if number == 1 else y
        for block in stage:
            inner = convolve(block["first"], np.tanh(y))
            if y.shape[-1] < inner.shape[-1]:
                y = np.concatenate([y, np.zeros((5, 2, 3, 1))], axis=-1)
            y = y + convolve(block["second"], np.tanh(inner))
    y = affine(w["head"], np.tanh(y).mean(axis=(1, 2)))
    np.testing.assert_allclose(resnet(w, jnp.asarray(X)), y, atol=1e-12)


def normalised(layer, x):
    z = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    return z * np.asarray(layer["gain"]) + np.asarray(layer["bias"])


def test_transformer_against_numpy_one_head_and_token_at_a_time():
    w = perturbed(NETWORKS["transformer"][1])
    outputs = []
    for image in X:
        patches = [
            image[i : i + 2, j : j + 2].ravel() for i in range(0, 4, 2) for j in range(0, 6, 2)
        ]
        z = affine(w["embedding"], np.array(patches)) + np.asarray(w["position"])
        for block in w["blocks"]:
            a = normalised(block["attention_norm"], z)
            weight, bias = (np.asarray(block["query_key_value"][k]) for k in ("weight", "bias"))
            heads = []
            for head in range(2):
                q, k, v = (a @ weight[:, c, head] + bias[c, head] for c in range(3))
                attention = np.exp(q @ k.T / np.sqrt(2.0))
                heads.append(attention / attention.sum(1, keepdims=True) @ v)
            z = z + affine(block["projection"], np.concatenate(heads, axis=1))
            hidden = affine(block["mlp"][0], normalised(block["mlp_norm"], z))
            z = z + affine(block["mlp"][1], hidden * (1 + erf(hidden / 2**0.5)) / 2)
        outputs.append(affine(w["head"], normalised(w["norm"], z).mean(axis=0)))
    np.testing.assert_allclose(transformer(w, jnp.asarray(X)), outputs, atol=1e-12)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: vgg_init(KEY, (4, 4, 1), 3, channels=(2, 2, 2)), "too small to be halved 3 times"),
        (lambda: resnet_init(KEY, (8, 8, 1), 3, channels=(4, 2)), "must not decrease"),
        (lambda: transformer_init(KEY, (8, 7, 1), 3), "do not tile images of 8 x 7"),
        (lambda: transformer_init(KEY, (8, 8, 1), 3, width=5), "a multiple of heads"),
    ],
)
def test_sizes_that_do_not_fit(make, message):
    with pytest.raises(ValueError, match=message):
        make()
