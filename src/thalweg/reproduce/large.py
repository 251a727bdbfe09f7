"""The networks of the full size: those of papers, on the images that are there."""

import os
from typing import Any, NamedTuple

from thalweg.experiments.network import Network
from thalweg.reproduce.case import Case

SAMPLES = 500
_EVALUATIONS = 4e5  # gradients that a run takes: guessed, 16 flows of 20,000 and the rest
_TITLES = {"fashion-mnist": "Fashion-MNIST", "mnist": "MNIST", "cifar10": "CIFAR-10"}

# Three, of which one is stable, are chosen by the sharpness ahead.
_COMMON: dict[str, Any] = {"samples": SAMPLES, "steps": 3000, "sharpness_every": 50}
# Folder, title, description, options.
_Network = tuple[str, str, str, dict[str, Any]]
_VGG: _Network = (
    "vgg",
    "like VGG",
    "Six convolutions with averages, without normalisation",
    {"architecture": "vgg", "widths": (16, 32, 64), "depth": 2},
)
_RESNET: _Network = (
    "resnet",
    "like ResNet-20",
    "Nine residual blocks of two convolutions, without normalisation",
    {"architecture": "resnet", "widths": (16, 32, 64), "depth": 3},
)
_TRANSFORMER: _Network = (
    "transformer",
    "like a vision transformer",
    "Four blocks of attention over patches of 2 × 2 pixels",
    {
        "architecture": "transformer",
        "widths": (64,) * 4,
        "patch": 2,
        "heads": 4,
        "init_scale": 0.7,
    },
)


class FoundImages(NamedTuple):
    """Images that can be read: the name of the data, and their folder, if it has to be named."""

    data: str
    data_dir: str | None

    @property
    def title(self) -> str:
        """How the data set is written."""
        return _TITLES[self.data]


def found_images(data_dir: str | os.PathLike[str] | None) -> list[FoundImages]:
    """Return the grey images first, then the coloured ones, where there are any.

    Grey are Fashion-MNIST or, without it, MNIST, in `data_dir` or else from a package; coloured is
    CIFAR-10 in `data_dir`. Raises a ValueError where there are no grey ones.
    """
    folder = None if data_dir is None else os.fspath(data_dir)
    places = [(name, folder) for name in ("fashion-mnist", "mnist")]
    places += [(name, None) for name, _ in places]
    grey = [images for place in places if _can_be_read(images := FoundImages(*place))]
    if not grey:
        raise ValueError(
            "the full size needs images: install Debian's package dataset-fashion-mnist, or "
            "`pip install 'thalweg[mnist]'`, or name a folder with the files of Fashion-MNIST or "
            "MNIST by --data-dir"
        )
    coloured = FoundImages("cifar10", folder)
    return [grey[0], *([coloured] if _can_be_read(coloured) else [])]


def _can_be_read(images: FoundImages) -> bool:
    from thalweg.data import load_images

    try:
        load_images(*images)
    except (ValueError, OSError):
        return False
    return True


def large_cases(images: list[FoundImages]) -> list[Case]:
    """Return the cases on images of 14 × 14 pixels, and one for coloured ones of 16 × 16."""
    grey, *coloured = images
    cases = [_case(network, grey, 14) for network in (_VGG, _RESNET, _TRANSFORMER)]
    return cases + [_case(_VGG, found, 16) for found in coloured]


def _case(network: _Network, images: FoundImages, size: int) -> Case:
    name, title, description, options = network
    return Case(
        f"{name}-{images.data}",
        f"Network {title}, {SAMPLES} images of {images.title}",
        f"{description}, on {SAMPLES} images of {size} × {size} pixels.",
        Network(**_COMMON, **options, **images._asdict(), image_size=size),
        _EVALUATIONS,
    )
