"""A small transformer encoder over the patches of an image (a vision transformer)."""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt
from typing import TYPE_CHECKING, Any

from thalweg.basics.checks import Count, Width
from thalweg.models.architecture import Architecture, Shape, option
from thalweg.models.layers import Activation, Layer, dense, dense_init, gelu, jax, jnp
from thalweg.models.mlp import mlp, mlp_init

if TYPE_CHECKING:
    from jaxtyping import Array, Float

EPSILON = 1e-5  # added to the variance by layer normalisation


def transformer_init(
    key: Array,
    image: Shape,
    outputs: int,
    patch: int = 2,
    width: int = 16,
    depth: int = 1,
    heads: int = 2,
    dtype: Any = float,
) -> dict[str, Any]:
    """Return parameters of a transformer encoder (Dosovitskiy et al. 2021, pre-normalisation).

    Weights are normal with variance `1/inputs` (LeCun), positions with variance `1/width`; gains
    are one and biases zero.

    Parameters
    ----------
    image
        Height, width and channels.
    patch
        Side of the square patches, in pixels; it divides height and width.
    width
        Number of features of a token, a multiple of `heads`.
    depth
        Number of blocks: attention, then a fully connected network with `2 width` hidden units,
        each behind a layer normalisation with gains and biases, each added to its input.
    """
    height, across, channels = image
    if height % patch or across % patch:
        raise ValueError(f"patches of {patch} pixels do not tile images of {height} x {across}")
    if width % heads:
        raise ValueError(f"width must be a multiple of heads, got {width} and {heads}")
    tokens = (height // patch) * (across // patch)
    key, of_embedding, of_position, of_head = jax.random.split(key, 4)
    blocks = []
    for _ in range(depth):
        key, of_attention, of_projection, of_mlp = jax.random.split(key, 4)
        mixing = dense_init(of_attention, width, 3 * width, dtype)
        shape = (3, heads, width // heads)
        blocks.append(
            {
                "attention_norm": _norm_init(width, dtype),
                "query_key_value": {
                    "weight": mixing["weight"].reshape(width, *shape),
                    "bias": mixing["bias"].reshape(shape),
                },
                "projection": dense_init(of_projection, width, width, dtype),
                "mlp_norm": _norm_init(width, dtype),
                "mlp": mlp_init(of_mlp, (width, 2 * width, width), dtype),
            }
        )
    return {
        "embedding": dense_init(of_embedding, patch * patch * channels, width, dtype),
        "position": jax.random.normal(of_position, (tokens, width), dtype) * width**-0.5,
        "blocks": blocks,
        "norm": _norm_init(width, dtype),
        "head": dense_init(of_head, width, outputs, dtype),
    }


def transformer(
    w: dict[str, Any], x: Float[Array, "n height width channels"], activation: Activation = gelu
) -> Float[Array, "n outputs"]:
    """Return the outputs on images.

    The head sees the mean over all tokens of the normalised last block.
    """
    tokens = dense(w["embedding"], _patches(x, w["embedding"]["weight"].shape[0]))
    tokens = tokens + w["position"][None]
    for block in w["blocks"]:
        tokens = tokens + _attend(block, _normalise(block["attention_norm"], tokens))
        flat = _normalise(block["mlp_norm"], tokens).reshape(-1, tokens.shape[-1])
        tokens = tokens + mlp(block["mlp"], flat, activation).reshape(tokens.shape)
    return dense(w["head"], jnp.mean(_normalise(w["norm"], tokens), axis=1))


def _patches(
    x: Float[Array, "n height width channels"], pixels: int
) -> Float[Array, "n tokens pixels"]:
    """Return the patches of so many numbers each."""
    n, height, width, channels = x.shape
    side = isqrt(pixels // channels)
    grid = x.reshape(n, height // side, side, width // side, side, channels)
    return grid.transpose(0, 1, 3, 2, 4, 5).reshape(n, -1, pixels)


def _attend(
    block: dict[str, Any], tokens: Float[Array, "n tokens width"]
) -> Float[Array, "n tokens width"]:
    """Return `Σ_heads softmax(Q Kᵀ / √size) V`, projected."""
    mixing = block["query_key_value"]
    mixed = jnp.einsum("ntw,wchs->cnhts", tokens, mixing["weight"])
    query, key, value = mixed + mixing["bias"][:, None, :, None, :]
    scores = jnp.einsum("nhts,nhus->nhtu", query, key) * query.shape[-1] ** -0.5
    heads = jnp.einsum("nhtu,nhus->nths", jax.nn.softmax(scores, axis=-1), value)
    return dense(block["projection"], heads.reshape(tokens.shape))


def _norm_init(width: int, dtype: Any) -> Layer:
    return {"gain": jnp.ones(width, dtype), "bias": jnp.zeros(width, dtype)}


def _normalise(layer: Layer, x: Array) -> Array:
    """Return layer normalisation over the last axis: mean 0, variance 1, gains and biases."""
    centred = x - jnp.mean(x, axis=-1, keepdims=True)
    variance = jnp.mean(centred * centred, axis=-1, keepdims=True)
    scaled = centred * jax.lax.rsqrt(variance + EPSILON)
    return scaled * layer["gain"][None, None, :] + layer["bias"][None, None, :]


@dataclass(frozen=True, kw_only=True)
class Transformer(Architecture):
    """A transformer encoder over patches."""

    widths: tuple[Width, ...] = option((16,), "features of the blocks, all equal")
    patch: Count = option(2, "side of the patches, in pixels")
    heads: Count = option(2, "attention heads")

    def check(self) -> None:
        """As for every architecture, and that the widths are equal."""
        super().check()
        if len(set(self.widths)) > 1:
            raise ValueError(f"widths of a transformer must all be equal, got {self.widths}")

    def init(self, key: Array, image: Shape, outputs: int) -> Any:
        """Return random parameters."""
        return transformer_init(
            key,
            image,
            outputs,
            patch=self.patch,
            width=self.widths[0],
            depth=len(self.widths),
            heads=self.heads,
        )

    predict = staticmethod(transformer)
