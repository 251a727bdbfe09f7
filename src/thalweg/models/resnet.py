"""Convolutional networks in the manner of ResNet, without normalisation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from thalweg.basics.checks import Blocks, Width
from thalweg.models.architecture import Architecture, Shape, option
from thalweg.models.convolution import average_pool, convolution_init, convolve, halved
from thalweg.models.layers import Activation, dense, dense_init, jax, jnp, tanh

if TYPE_CHECKING:
    from jaxtyping import Array, Float


def resnet_init(
    key: Array,
    image: Shape,
    outputs: int,
    channels: Sequence[int] = (4, 8),
    blocks: int = 1,
    dtype: Any = float,
) -> dict[str, Any]:
    """Return parameters of a network like ResNet (He et al. 2016, pre-activation).

    Weights are normal with variance `1/inputs`, those of `C₂` with that divided by the number of
    all blocks: in place of a normalisation, the sum over blocks then starts of order one. Biases
    are zero.

    Parameters
    ----------
    image
        Height, width and channels.
    channels
        One stage of `blocks` for each, of so many channels; sizes are halved between stages.
    blocks
        Number of blocks `x + C₂ a(C₁ a(x))` in each stage, `C` convolutions of 3 × 3 pixels. In
        the first block of a stage `C₁` brings the channels to their new number, and `x` gets
        channels of zeros (He et al.'s option A).
    """
    if any(after < before for before, after in pairwise(channels)):
        raise ValueError(f"channels of a resnet must not decrease, got {tuple(channels)}")
    height, width, depth = image
    key, of_stem, of_head = jax.random.split(key, 3)
    stem = convolution_init(of_stem, depth, channels[0], dtype)
    depth = channels[0]
    share = (len(channels) * blocks) ** -0.5
    stages = []
    for number, of_stage in enumerate(channels):
        if number > 0:
            height, width = halved(height, width, image, len(channels) - 1)
        stage = []
        for _ in range(blocks):
            key, of_first, of_second = jax.random.split(key, 3)
            second = convolution_init(of_second, of_stage, of_stage, dtype)
            stage.append(
                {
                    "first": convolution_init(of_first, depth, of_stage, dtype),
                    "second": {**second, "weight": share * second["weight"]},
                }
            )
            depth = of_stage
        stages.append(stage)
    return {"stem": stem, "stages": stages, "head": dense_init(of_head, of_stage, outputs, dtype)}


def resnet(
    w: dict[str, Any], x: Float[Array, "n height width channels"], activation: Activation = tanh
) -> Float[Array, "n outputs"]:
    """Return the outputs on images.

    The head sees the mean over all pixels of the activated last stage.
    """
    x = convolve(w["stem"], x)
    for number, stage in enumerate(w["stages"]):
        if number > 0:
            x = average_pool(x)
        for block in stage:
            inner = activation(convolve(block["first"], activation(x)))
            more = inner.shape[-1] - x.shape[-1]
            x = jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, more)))
            x = x + convolve(block["second"], inner)
    return dense(w["head"], jnp.mean(activation(x), axis=(1, 2)))


@dataclass(frozen=True, kw_only=True)
class ResNet(Architecture):
    """A residual convolutional network like ResNet."""

    widths: tuple[Width, ...] = option((8, 16), "channels of the stages")
    depth: Blocks = option(1, "blocks in each stage")

    def init(self, key: Array, image: Shape, outputs: int) -> Any:
        """Return random parameters."""
        return resnet_init(key, image, outputs, channels=self.widths, blocks=self.depth)

    predict = staticmethod(resnet)
