"""What convolutional networks share: convolutions of 3 × 3 pixels, and sizes that are halved.

Images are `(n, height, width, channels)`. Sizes are halved by averages over 2 × 2 pixels (maxima
would put kinks into the loss); an odd last row or column is left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from thalweg.models.architecture import Shape
from thalweg.models.layers import Layer, dense_init, jax, jnp

if TYPE_CHECKING:
    from jaxtyping import Array, Float

    Images = Float[Array, "n height width channels"]
    Convolved = Float[Array, "n height width out"]

KERNEL = 3  # pixels, along each side


def convolution_init(key: Array, fan_in: int, fan_out: int, dtype: Any) -> Layer:
    """Return weights `(3, 3, in, out)`, normal with variance `1/(9 in)`, and zero biases."""
    flat = dense_init(key, KERNEL * KERNEL * fan_in, fan_out, dtype)
    return {**flat, "weight": flat["weight"].reshape(KERNEL, KERNEL, fan_in, fan_out)}


def convolve(layer: Layer, x: Images) -> Convolved:
    """Return the convolution (in the sense of deep learning) with zeros around the image.

    XLA has no fast convolution in float64, and on a CPU none with weights of each sample's own,
    which gradients of single samples need: there, patches and one matrix product.
    """
    by = by_patches if x.dtype == jnp.float64 else by_library
    return by(layer["weight"], x) + layer["bias"][None, None, None, :]


def by_library(weight: Float[Array, "3 3 channels out"], x: Images) -> Convolved:
    """Return the convolution with some weights, by XLA's."""
    axes = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, weight, (1, 1), "SAME", dimension_numbers=axes)


def by_patches(weight: Float[Array, "3 3 channels out"], x: Images) -> Convolved:
    """Return the same, as the product of all patches of 3 × 3 pixels with the weights."""
    n, height, width, _ = x.shape
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    shifts = [
        padded[:, down : down + height, right : right + width]
        for down in range(KERNEL)
        for right in range(KERNEL)
    ]
    patches = jnp.concatenate(shifts, axis=-1).reshape(n * height * width, -1)
    return (patches @ weight.reshape(-1, weight.shape[-1])).reshape(n, height, width, -1)


def average_pool(
    x: Float[Array, "n height width channels"],
) -> Float[Array, "n height//2 width//2 channels"]:
    """Return averages over 2 × 2 pixels."""
    n, height, width, depth = x.shape
    even = x[:, : 2 * (height // 2), : 2 * (width // 2)]
    return jnp.mean(even.reshape(n, height // 2, 2, width // 2, 2, depth), axis=(2, 4))


def halved(height: int, width: int, image: Shape, times: int) -> tuple[int, int]:
    """Return half the height and width, or raise where an image cannot be halved so often."""
    if min(height, width) < 2:
        raise ValueError(
            f"images of {image[0]} x {image[1]} pixels are too small to be halved {times} times: "
            "choose fewer stages (channels) or larger images"
        )
    return height // 2, width // 2
