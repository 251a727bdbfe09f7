"""The main job: a network on real images at the edge of stability."""

from dataclasses import dataclass
from typing import Any, ClassVar

from thalweg.basics.checks import Width
from thalweg.experiments.computed import NetworkExperiment


@dataclass(frozen=True, kw_only=True)
class DigitsMLP(NetworkExperiment):
    """A fully connected tanh network on scikit-learn's handwritten digits, squared loss.

    Attributes
    ----------
    samples
        Number of images, the first of the 1,797.
    widths
        Numbers of units of the hidden layers.
    """

    name: ClassVar[str] = "digits-mlp"
    summary: ClassVar[str] = "a tanh network on handwritten digits, squared loss (the main job)"

    step_size: tuple[float, ...] = (0.23,)
    steps: int = 12_000
    sharpness_every: int = 50
    gfs_every: int = 500
    # At first the GFS sharpness rises, which every 500 steps would hide.
    gfs_also: tuple[int, ...] = (1, 2, 5, 10, 20, 50, 100)
    samples: int = 300
    widths: tuple[Width, ...] = (64, 64)

    @property
    def title(self) -> str:
        """Architecture, data, loss."""
        widths = f" of widths {' and '.join(map(str, self.widths))}" if self.widths else ""
        return f"tanh network{widths} on {self.samples} handwritten digits, squared loss"

    def build(self) -> tuple[Any, Any]:
        """Return the problem, and a start with weights of variance `1/inputs` and zero biases."""
        import jax

        from thalweg.data import digits
        from thalweg.models import mlp, mlp_init
        from thalweg.models.layers import init_if_fits
        from thalweg.problems import Supervised

        x, y = digits(self.samples)
        widths = (x.shape[1], *self.widths, y.shape[1])
        w = init_if_fits(lambda: mlp_init(jax.random.key(self.one_seed), widths))
        return self.placed(Supervised(mlp, x, y), w)
