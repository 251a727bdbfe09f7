"""Convolutions of 3 × 3 pixels: XLA's own against patches and one matrix product.

    python benchmarks/convolutions.py

Seconds of a gradient and of a Hessian product of two convolutions, and of compiling them, in both
precisions, at several sizes. `thalweg.models` uses patches in float64, where they are quicker for
large batches, and for gradients of single samples by a factor of 20 to 200.
"""

import time

import jax
import jax.numpy as jnp

from thalweg.models.convolution import by_library, by_patches

SIZES = [(20, 8, 4), (100, 8, 32), (100, 14, 32), (500, 28, 16)]  # images, pixels, channels
REPEATS = 5


def loss(convolve, w, x):
    for weight in w:
        x = jnp.tanh(convolve(weight, x))
    return jnp.mean(x**2)


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
    print(f"{jax.devices()[0].device_kind}; milliseconds of gradient and product, s of first calls")
    for images, pixels, channels in SIZES:
        for dtype in (jnp.float32, jnp.float64):
            keys = jax.random.split(jax.random.key(0), 3)
            x = jax.random.normal(keys[0], (images, pixels, pixels, 1), dtype)
            shapes = (3, 3, 1, channels), (3, 3, channels, channels)
            w = [jax.random.normal(k, s, dtype) / 9 for k, s in zip(keys[1:], shapes, strict=True)]
            line = f"{images} images of {pixels}², {channels} channels, {x.dtype.name}:"
            for convolve in (by_library, by_patches):
                gradient = jax.jit(jax.grad(lambda w, x, c=convolve: loss(c, w, x)))
                product = jax.jit(lambda w, x, g=gradient: jax.jvp(lambda w: g(w, x), (w,), (w,)))
                (g, first_g), (h, first_h) = seconds(gradient, w, x), seconds(product, w, x)
                line += (
                    f"  {convolve.__name__} {1e3 * g:.2f} {1e3 * h:.2f} ({first_g + first_h:.1f} s)"
                )
            print(line, flush=True)


if __name__ == "__main__":
    main()
