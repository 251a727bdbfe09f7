"""Real data, from installed packages or from the user's files; nothing is downloaded."""

from thalweg.data.images import Images, training_data
from thalweg.data.sets import diabetes, digits, load_images

__all__ = [
    "Images",
    "diabetes",
    "digits",
    "load_images",
    "training_data",
]


def __dir__() -> list[str]:
    return __all__
