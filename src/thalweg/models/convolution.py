"""Convolutional networks in the manner of VGG and ResNet, without normalisation.

Images are `(n, height, width, channels)`. Sizes are halved by averages over 2 × 2 pixels (maxima
would put kinks into the loss); an odd last row or column is left out.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from thalweg.models.mlp import Activation, Layer, dense, dense_init, mlp, mlp_init

KERNEL = 3  # pixels, along each side

Shape = tuple[int, int, int]


def vgg_init(
    key: Array,
    image: Shape,
    outputs: int,
    channels: Sequence[int] = (4, 8),
    convolutions: int = 1,
    hidden: Sequence[int] = (16,),
    dtype: Any = float,
) -> dict[str, Any]:
    """Return parameters of a network like VGG (Simonyan and Zisserman 2015).

    Parameters
    ----------
    key
        Random key.
    image
        Height, width and channels of the images.
    outputs
        Number of outputs.
    channels
        One stage for each: `convolutions` of 3 × 3 pixels with so many channels, then an average
        over 2 × 2 pixels.
    convolutions
        Their number in each stage.
    hidden
        Widths of the hidden layers of the fully connected network at the end.
    dtype
        Of the parameters.

    Weights are normal with variance `1/inputs` (LeCun), biases are zero.
    """
    height, width, depth = image
    stages = []
    for of_stage in channels:
        stage = []
        for _ in range(convolutions):
            key, of_layer = jax.random.split(key)
            stage.append(_convolution_init(of_layer, depth, of_stage, dtype))
            depth = of_stage
        stages.append(stage)
        height, width = _halved(height, width, image, len(channels))
    widths = (height * width * depth, *hidden, outputs)
    return {"stages": stages, "dense": mlp_init(key, widths, dtype)}


def vgg(w: dict[str, Any], x: Array, activation: Activation = jnp.tanh) -> Array:
    """Return the outputs `(n, outputs)` on images `(n, height, width, channels)`."""
    for stage in w["stages"]:
        for layer in stage:
            x = activation(_convolve(layer, x))
        x = _average_pool(x)
    return mlp(w["dense"], x, activation)


def resnet_init(
    key: Array,
    image: Shape,
    outputs: int,
    channels: Sequence[int] = (4, 8),
    blocks: int = 1,
    dtype: Any = float,
) -> dict[str, Any]:
    """Return parameters of a network like ResNet (He et al. 2016, pre-activation).

    Parameters
    ----------
    key
        Random key.
    image
        Height, width and channels of the images.
    outputs
        Number of outputs.
    channels
        One stage of `blocks` for each, of so many channels; sizes are halved between stages.
    blocks
        Number of blocks `x + C₂ a(C₁ a(x))` in each stage, `C` convolutions of 3 × 3 pixels. In
        the first block of a stage `C₁` brings the channels to their new number, and `x` gets
        channels of zeros (He et al.'s option A).
    dtype
        Of the parameters.

    Weights are normal with variance `1/inputs`, those of `C₂` with that divided by the number of
    all blocks: in place of a normalisation, the sum over blocks then starts of order one. Biases
    are zero.
    """
    if any(after < before for before, after in pairwise(channels)):
        raise ValueError(f"channels of a resnet must not decrease, got {tuple(channels)}")
    height, width, depth = image
    key, of_stem, of_head = jax.random.split(key, 3)
    stem = _convolution_init(of_stem, depth, channels[0], dtype)
    depth = channels[0]
    share = (len(channels) * blocks) ** -0.5
    stages = []
    for number, of_stage in enumerate(channels):
        if number > 0:
            height, width = _halved(height, width, image, len(channels) - 1)
        stage = []
        for _ in range(blocks):
            key, of_first, of_second = jax.random.split(key, 3)
            second = _convolution_init(of_second, of_stage, of_stage, dtype)
            stage.append(
                {
                    "first": _convolution_init(of_first, depth, of_stage, dtype),
                    "second": {**second, "weight": share * second["weight"]},
                }
            )
            depth = of_stage
        stages.append(stage)
    return {"stem": stem, "stages": stages, "head": dense_init(of_head, of_stage, outputs, dtype)}


def resnet(w: dict[str, Any], x: Array, activation: Activation = jnp.tanh) -> Array:
    """Return the outputs `(n, outputs)` on images `(n, height, width, channels)`.

    The head sees the mean over all pixels of the activated last stage.
    """
    x = _convolve(w["stem"], x)
    for number, stage in enumerate(w["stages"]):
        if number > 0:
            x = _average_pool(x)
        for block in stage:
            inner = activation(_convolve(block["first"], activation(x)))
            more = inner.shape[-1] - x.shape[-1]
            x = jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, more)))
            x = x + _convolve(block["second"], inner)
    return dense(w["head"], jnp.mean(activation(x), axis=(1, 2)))


def _convolution_init(key: Array, fan_in: int, fan_out: int, dtype: Any) -> Layer:
    flat = dense_init(key, KERNEL * KERNEL * fan_in, fan_out, dtype)
    return {**flat, "weight": flat["weight"].reshape(KERNEL, KERNEL, fan_in, fan_out)}


def _convolve(layer: Layer, x: Array) -> Array:
    """Return the convolution (in the sense of deep learning) with zeros around the image."""
    axes = ("NHWC", "HWIO", "NHWC")
    y = jax.lax.conv_general_dilated(x, layer["weight"], (1, 1), "SAME", dimension_numbers=axes)
    return y + layer["bias"][None, None, None, :]


def _average_pool(x: Array) -> Array:
    n, height, width, depth = x.shape
    even = x[:, : 2 * (height // 2), : 2 * (width // 2)]
    return jnp.mean(even.reshape(n, height // 2, 2, width // 2, 2, depth), axis=(2, 4))


def _halved(height: int, width: int, image: Shape, times: int) -> tuple[int, int]:
    if min(height, width) < 2:
        raise ValueError(
            f"images of {image[0]} x {image[1]} pixels are too small to be halved {times} times: "
            "choose fewer stages (channels) or larger images"
        )
    return height // 2, width // 2
