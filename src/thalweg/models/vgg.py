"""Convolutional networks in the manner of VGG, without normalisation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from thalweg.basics.checks import Blocks, Width
from thalweg.models.architecture import Architecture, Shape, option
from thalweg.models.convolution import average_pool, convolution_init, convolve, halved
from thalweg.models.layers import Activation, jax, tanh
from thalweg.models.mlp import mlp, mlp_init

if TYPE_CHECKING:
    from jaxtyping import Array, Float


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

    Weights are normal with variance `1/inputs` (LeCun), biases are zero.

    Parameters
    ----------
    image
        Height, width and channels.
    channels
        One stage for each: `convolutions` of 3 × 3 pixels with so many channels, then an average
        over 2 × 2 pixels.
    convolutions
        Their number in each stage.
    hidden
        Widths of the hidden layers of the fully connected network at the end.
    """
    height, width, depth = image
    stages = []
    for of_stage in channels:
        stage = []
        for _ in range(convolutions):
            key, of_layer = jax.random.split(key)
            stage.append(convolution_init(of_layer, depth, of_stage, dtype))
            depth = of_stage
        stages.append(stage)
        height, width = halved(height, width, image, len(channels))
    widths = (height * width * depth, *hidden, outputs)
    return {"stages": stages, "dense": mlp_init(key, widths, dtype)}


def vgg(
    w: dict[str, Any], x: Float[Array, "n height width channels"], activation: Activation = tanh
) -> Float[Array, "n outputs"]:
    """Return the outputs on images."""
    for stage in w["stages"]:
        for layer in stage:
            x = activation(convolve(layer, x))
        x = average_pool(x)
    return mlp(w["dense"], x, activation)


@dataclass(frozen=True, kw_only=True)
class VGG(Architecture):
    """A convolutional network like VGG."""

    widths: tuple[Width, ...] = option((4, 8), "channels of the stages")
    depth: Blocks = option(1, "convolutions in each stage")
    dense: tuple[Width, ...] = option((16,), "units of the hidden dense layers at the end")

    def init(self, key: Array, image: Shape, outputs: int) -> Any:
        """Return random parameters."""
        return vgg_init(
            key,
            image,
            outputs,
            channels=self.widths,
            convolutions=self.depth,
            hidden=self.dense,
        )

    predict = staticmethod(vgg)
