"""Where a network on data is computed, and how precisely: options of every such experiment."""

from dataclasses import dataclass
from typing import Any, Literal

from thalweg.basics.checks import Count
from thalweg.runs.seeded import SeededExperiment


@dataclass(frozen=True, kw_only=True)
class NetworkExperiment(SeededExperiment):
    """Gradient descent on a network.

    Attributes
    ----------
    samples
        Number of images.
    devices
        Number of devices of JAX among which the images are shared out, equally many on each.
    precision
        Of parameters and all that is computed. Single precision is for devices without a fast
        double one: ask for --rtol 0.01 then.
    """

    samples: int
    devices: Count = 1
    precision: Literal["float64", "float32"] = "float64"

    def check(self) -> None:
        """As for every descent, and that the images can be shared out."""
        super().check()
        if self.samples % self.devices:
            raise ValueError(
                f"devices is {self.devices}, among which {self.samples} images cannot be shared "
                "out equally: choose a number that divides them"
            )

    def placed(self, problem: Any, start: Any) -> tuple[Any, Any]:
        """Return a problem on its devices, and a start in its precision."""
        import jax

        from thalweg.problems import shard_samples

        if self.devices > 1:
            problem = shard_samples(problem, self.devices)
        return problem, jax.tree.map(lambda array: array.astype(self.precision), start)
