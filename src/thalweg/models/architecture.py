"""What an architecture is: options, parameters, predictions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from thalweg.basics.checks import check_fields

if TYPE_CHECKING:
    from jaxtyping import Array, Float

    from thalweg.models.layers import Activation

Shape = tuple[int, int, int]
"""Height, width and channels of an image."""


@dataclass(frozen=True, kw_only=True)
class Architecture(ABC):
    """A kind of network on images: its fields, made by `option`, are its options.

    No architecture lets samples influence each other (there is no batch normalisation). Its module
    imports JAX when a network is built, so that the command line can show the options quickly.
    """

    def check(self) -> None:
        """Raise a ValueError for the first option that is not as its annotation says."""
        check_fields(self)

    @abstractmethod
    def init(self, key: Array, image: Shape, outputs: int) -> Any:
        """Return parameters, a pytree, for images of a shape and so many outputs."""

    @staticmethod
    @abstractmethod
    def predict(
        w: Any, /, x: Float[Array, "n height width channels"], activation: Activation
    ) -> Float[Array, "n outputs"]:
        """Return the outputs on images."""


def option(default: Any, help: str) -> Any:
    """Return a field with a default value and a phrase for the command line."""
    return field(default=default, metadata={"help": help})
