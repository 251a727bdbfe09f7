"""Fresh flows of small networks: recurrent, deep, normalised, with attention, with kinks."""

from functools import cache, partial
from itertools import pairwise

import jax
import jax.numpy as jnp
from jax import lax

from fresh_case import KINKED, Case, squared

SAMPLES = 5
ACTIVATIONS = {
    "tanh": jnp.tanh,
    "silu": jax.nn.silu,
    "gelu": jax.nn.gelu,
    "sigmoid": jax.nn.sigmoid,
    "softplus": jax.nn.softplus,
}


def normal(rng, *shape):
    return jnp.asarray(rng.standard_normal(shape))


def case(predict, x, y, w, supervised, **others):
    return Case(squared(predict), (x, y), w, predict if supervised else None, **others)


def elman(w, x):
    """Run a plain recurrent network, read out after the last step."""

    def step(h, u):
        return jnp.tanh(h @ w["h"] + u[:, None] * w["x"]), None

    return lax.scan(step, jnp.zeros((len(x), w["h"].shape[0])), x.T)[0] @ w["o"]


def gated(w, x):
    """Run a recurrent network with one gate for what is kept."""

    def step(h, u):
        kept = jax.nn.sigmoid(h @ w["g"] + u[:, None] * w["z"])
        return kept * h + (1 - kept) * jnp.tanh(h @ w["h"] + u[:, None] * w["x"]), None

    return lax.scan(step, jnp.zeros((len(x), w["h"].shape[0])), x.T)[0] @ w["o"]


def recurrent(seed, rng):
    """Draw 4, 6 or 9 steps, four units, weights of standard deviation 1/2, 1 or 3/2."""
    steps, scale = (4, 6, 9)[seed % 3], (0.5, 1.0, 1.5)[seed // 3 % 3]
    x = normal(rng, SAMPLES, steps)
    shapes = {"h": (4, 4), "x": (4,), "o": (4,)}
    if seed % 5 == 4:
        shapes |= {"g": (4, 4), "z": (4,)}
    w = {name: scale * normal(rng, *shape) for name, shape in shapes.items()}
    return case(gated if "g" in w else elman, x, jnp.sin(x[:, 0]), w, seed % 4 != 3)


@cache
def perceptron(name):
    activation = ACTIVATIONS[name]

    def predict(layers, x):
        *hidden, last = layers
        for layer in hidden:
            x = activation(x @ layer["a"] + layer["b"])
        return (x @ last["a"] + last["b"])[:, 0]

    return predict


def draw_layers(rng, widths, scale):
    """Return layers by Xavier's rule, times `scale`, without biases."""
    return [
        {
            "a": scale * (2 / (inputs + outputs)) ** 0.5 * normal(rng, inputs, outputs),
            "b": jnp.zeros(outputs),
        }
        for inputs, outputs in pairwise(widths)
    ]


def deep(seed, rng):
    """Draw depth 4 to 10, three units a layer, at Xavier's scale or twice that."""
    name = list(ACTIVATIONS)[seed % 5]
    depth, scale = (4, 6, 8, 10)[seed // 5 % 4], (1.0, 2.0)[seed // 20 % 2]
    x = normal(rng, SAMPLES, 3)
    layers = draw_layers(rng, (3, *[3] * (depth - 1), 1), scale)
    return case(perceptron(name), x, jnp.sin(x[:, 0]), layers, seed % 4 != 3)


def normalised(z, gain, bias):
    centred = z - jnp.mean(z, axis=-1, keepdims=True)
    return gain * centred / jnp.sqrt(jnp.mean(centred**2, -1, keepdims=True) + 1e-5) + bias


@cache
def with_layer_norm(name):
    activation = ACTIVATIONS[name]

    def predict(w, x):
        for layer in w["hidden"]:
            x = activation(normalised(x @ layer["a"], layer["gain"], layer["bias"]))
        return x @ w["o"]

    return predict


def layer_norm(seed, rng):
    """Draw one or two normalised layers of four units, tanh or GELU."""
    depth, scale = 1 + seed // 2 % 2, (0.5, 1.0, 2.0)[seed % 3]
    x = normal(rng, SAMPLES, 3)
    hidden = [
        {"a": scale * normal(rng, inputs, 4), "gain": jnp.ones(4), "bias": jnp.zeros(4)}
        for inputs in (3, 4)[:depth]
    ]
    w = {"hidden": hidden, "o": scale * normal(rng, 4)}
    predict = with_layer_norm(("tanh", "gelu")[seed % 2])
    return case(predict, x, jnp.sin(2 * x[:, 0]), w, seed % 4 != 3)


def attend(w, x, mix=lambda z: z):
    """Attend with one head over the tokens, `x` of shape (samples, tokens, features)."""
    z = mix(x)
    scores = jnp.einsum("nti,ij,nsj->nts", z, w["k"], z)
    attended = jax.nn.softmax(scores, axis=-1) @ (z @ w["v"])
    return jnp.tanh(x + attended)[:, -1] @ w["o"]


def attend_normalised(w, x):
    return attend(w, x, lambda z: normalised(z, w["gain"], w["bias"]))


def attention(seed, rng):
    """Draw one head over four tokens of three features, with layer norm in every second case."""
    scale = (0.5, 1.0, 2.0)[seed % 3]
    x = normal(rng, SAMPLES, 4, 3)
    w = {name: scale * normal(rng, 3, 3) for name in ("k", "v")} | {"o": scale * normal(rng, 3)}
    if seed % 2:
        w |= {"gain": jnp.ones(3), "bias": jnp.zeros(3)}
    predict = attend_normalised if seed % 2 else attend
    return case(predict, x, jnp.sin(x[:, 0, 0] + x[:, 1, 1]), w, seed // 2 % 4 != 3)


def size(z, edge):
    return jnp.abs(z) if edge is None else jnp.sqrt(z**2 + edge**2)


def ramp(z, edge, leak=0.0):
    if edge is None:
        return jnp.where(z > 0, z, leak * z)
    return 0.5 * (1 + leak) * z + 0.5 * (1 - leak) * size(z, edge)


def pool(z, edge):
    """Return the larger one of neighbours."""
    a, b = z[..., ::2], z[..., 1::2]
    return jnp.maximum(a, b) if edge is None else 0.5 * (a + b + size(a - b, edge))


KINKS = {"relu": ramp, "leaky": partial(ramp, leak=0.1), "abs": size, "pool": pool}


@cache
def with_kinks(name):
    kink = KINKS[name]

    def predict(layers, x, edge=None):
        *hidden, last = layers
        for layer in hidden:
            x = kink(x @ layer["a"] + layer["b"], edge)
        return (x @ last["a"] + last["b"])[:, 0]

    return predict


def kinked_network(seed, rng):
    """Draw one or two hidden layers of six ReLU, leaky ReLU, |z| or max-pooled units."""
    name = list(KINKS)[seed % 4]
    x = normal(rng, SAMPLES, 3)
    layers = draw_layers(rng, (3, *[6] * (1 + seed // 4 % 2), 1), 1.4)
    if name == "pool":
        layers = [
            {key: jnp.repeat(a, 2, axis=-1) for key, a in layer.items()} for layer in layers[:-1]
        ] + layers[-1:]
        layers = jax.tree.map(lambda a: a + 0.3 * normal(rng, *a.shape), layers)
    return case(with_kinks(name), x, jnp.sin(x[:, 0]), layers, seed % 3 != 2, limit=KINKED)
