"""Labelled images: which of them to train on, how large, and on what scale."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

CLASSES = 10


class Images(NamedTuple):
    """Labelled images.

    `pixels`: brightness, shape `(n, height, width, channels)`, integers of any scale; `labels`:
    class numbers from 0 to 9, shape `(n,)`.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]


def training_data(
    images: Images, samples: int, image_size: int | None = None, seed: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return inputs and one-hot targets for `Supervised`.

    So many of the images are chosen by `balanced_choice`, and shrunk to sides of `image_size`
    pixels, by averages over areas, where that is given. Their shapes are
    `(samples, height, width, channels)` and `(samples, 10)`. Over them each pixel has mean 0, and
    each channel variance 1 (not each pixel: those at the border of MNIST hardly vary). A common
    mean would be the sharpest direction of most losses, and has nothing to do with the classes.
    """
    chosen = balanced_choice(images.labels, samples, seed)
    x = images.pixels[chosen].astype(float)
    if image_size is not None:
        x = downsampled(x, image_size)
    x -= x.mean(axis=0)
    deviation = x.std(axis=(0, 1, 2))
    x /= np.where(deviation > 0, deviation, 1.0)
    return x, np.eye(CLASSES)[images.labels[chosen]]


def balanced_choice(labels: NDArray[np.int64], samples: int, seed: int) -> NDArray[np.int64]:
    """Return the indices of a random choice with the same number of each class, within one.

    A class that has too few gives all that it has. A choice of more samples with the same seed
    begins with a choice of fewer.

    >>> labels = np.array([0, 0, 0, 0, 0, 0, 1, 2, 2])
    >>> sorted(labels[balanced_choice(labels, 6, seed=0)].tolist())
    [0, 0, 0, 1, 2, 2]
    """
    if not 1 <= samples <= labels.size:
        raise ValueError(f"samples must be between 1 and {labels.size}, got {samples}")
    order = np.random.default_rng(seed).permutation(labels.size)
    rank = np.empty(labels.size, np.int64)  # within the class, in that order
    for label in np.unique(labels):
        places = np.flatnonzero(labels[order] == label)
        rank[places] = np.arange(places.size)
    return order[np.argsort(rank, kind="stable")[:samples]]


def downsampled(x: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Return images `(n, size, size, channels)` whose pixels are averages over areas of `x`.

    >>> x = np.array([0.0, 3.0, 6.0]).reshape(1, 1, 3, 1) * np.ones((1, 3, 1, 1))
    >>> downsampled(x, 2)[0, :, :, 0]
    array([[1., 5.], [1., 5.]])
    """
    height, width = x.shape[1:3]
    if not 1 <= size <= min(height, width):
        raise ValueError(
            f"image_size must be between 1 and {min(height, width)}, the size of the images, "
            f"got {size}"
        )
    rows, columns = _areas(height, size), _areas(width, size)
    means: NDArray[np.float64] = np.einsum("ih,nhwc,jw->nijc", rows, x, columns, optimize=True)
    return means


def _areas(old: int, new: int) -> NDArray[np.float64]:
    """Return the shares `(new, old)` that old intervals have in the new ones; rows sum to one."""
    edges = np.arange(new + 1) * (old / new)
    pixel = np.arange(old)
    above = np.maximum(edges[:-1, None], pixel[None, :])
    below = np.minimum(edges[1:, None], pixel[None, :] + 1)
    shares: NDArray[np.float64] = np.maximum(below - above, 0.0) * (new / old)
    return shares
