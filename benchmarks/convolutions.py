"""Convolutions of 3 × 3 pixels: XLA's own against patches and one matrix product.

    python benchmarks/convolutions.py

Milliseconds of a gradient of two convolutions by itself, in a loop of ten, and of a Hessian
product, in both precisions, at several sizes; and seconds until the three are compiled. On a CPU
`thalweg.problems.convolutions` makes products of a model's convolutions.
"""

import time

import jax
import jax.numpy as jnp

from thalweg.problems.convolutions import with_products

SIZES = [(20, 8, 4), (100, 8, 32), (100, 14, 32), (500, 28, 16)]  # images, pixels, channels
REPEATS, LOOP = 3, 10
AXES = ("NHWC", "HWIO", "NHWC")


def network(w, x):
    for weight in w:
        x = jnp.tanh(
            jax.lax.conv_general_dilated(x, weight, (1, 1), "SAME", dimension_numbers=AXES)
        )
    return jnp.mean(x**2)


def by_library(w, x):
    return network(w, x)


def by_products(w, x):
    return with_products(network, w, x)


def programs(loss):
    """Return a gradient, ten of them one after the other, and a Hessian product."""
    gradient = jax.grad(loss)

    def descend(w, x):
        def step(_, w):
            return jax.tree.map(lambda a, g: a - 0.01 * g, w, gradient(w, x))

        return jax.lax.fori_loop(0, LOOP, step, w)

    def product(w, x):
        return jax.jvp(lambda w: gradient(w, x), (w,), (w,))[1]

    return (gradient, 1), (descend, LOOP), (product, 1)


def seconds(function, *args):
    """Return the least seconds of a call, and those of the first."""
    times = []
    for _ in range(REPEATS + 1):
        begin = time.perf_counter()
        jax.block_until_ready(function(*args))
        times.append(time.perf_counter() - begin)
    return min(times[1:]), times[0]


def main():
    jax.config.update("jax_enable_x64", True)
    print(f"{jax.devices()[0].device_kind}; ms of gradient, in a loop, product; s of first calls")
    for images, pixels, channels in SIZES:
        for dtype in (jnp.float32, jnp.float64):
            keys = jax.random.split(jax.random.key(0), 3)
            x = jax.random.normal(keys[0], (images, pixels, pixels, 1), dtype)
            shapes = (3, 3, 1, channels), (3, 3, channels, channels)
            w = [jax.random.normal(k, s, dtype) / 9 for k, s in zip(keys[1:], shapes, strict=True)]
            line = f"{images} images of {pixels}², {channels} channels, {x.dtype.name}:"
            for loss in (by_library, by_products):
                measured = [(*seconds(jax.jit(run), w, x), n) for run, n in programs(loss)]
                each = " ".join(f"{1e3 * least / n:.2f}" for least, _, n in measured)
                line += f"  {loss.__name__} {each} ({sum(first for _, first, _ in measured):.1f} s)"
            print(line, flush=True)


if __name__ == "__main__":
    main()
