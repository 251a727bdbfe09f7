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
    """Return the convolution (in the sense of deep learning) with zeros around the image."""
    axes, weight = ("NHWC", "HWIO", "NHWC"), layer["weight"]
    y = jax.lax.conv_general_dilated(x, weight, (1, 1), "SAME", dimension_numbers=axes)
    return y + layer["bias"][None, None, None, :]


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
