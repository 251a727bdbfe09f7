"""Networks of several architectures on images, at step sizes relative to their sharpness."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from thalweg.runs.experiment import MOST_LAYERS, DescentExperiment, check_positive, check_widths

if TYPE_CHECKING:
    from thalweg.descent import Measurement

Architecture = Literal["mlp", "vgg", "resnet", "transformer"]

_WIDTHS: dict[str, tuple[int, ...]] = {
    "mlp": (32, 32),
    "vgg": (4, 8),
    "resnet": (8, 16),
    "transformer": (16,),
}


@dataclass(frozen=True, kw_only=True)
class Network(DescentExperiment):
    """A network on images: fully connected, convolutional, or a transformer.

    Attributes
    ----------
    step_size
        Step sizes of gradient descent; the stability threshold is 2 / step size. Several are
        several runs from the same start. Left out, and relative_step_size too, three are chosen:
        one that stays stable and two that reach the edge of stability.
    relative_step_size
        Step sizes as multiples of 2 / sharpness at the start: used in place of step_size.
    gfs_every
        Measure the GFS sharpness (cross-entropy: the truncated sharpness) at every so many steps.
    gfs_start
        The first step at which that is measured.
    gfs_also
        Further steps at which that is measured.
    rtol
        Relative accuracy wanted of it.
    architecture
        The kind of network; none has batch normalisation.
    activation
        The activation function.
    widths
        Units of the hidden layers (mlp), channels of the stages (vgg, resnet), or features of the
        blocks, all equal (transformer); left out, small ones.
    depth
        Convolutions (vgg) or blocks (resnet) in each stage.
    patch
        Side of the transformer's patches, in pixels.
    heads
        Attention heads of the transformer.
    init_scale
        Factor by which the random start is multiplied.
    data
        The images; all but digits and mnist are read from files.
    data_dir
        Folder with the files of the data.
    samples
        Number of images, chosen at random, the same number of each class within one.
    image_size
        Side to which the images are shrunk, in pixels; left out, they keep their size.
    loss
        The loss. For cross-entropy, which has no minimiser on separable data, the truncated
        sharpness is measured in place of the GFS sharpness.
    level
        The loss level of the truncated sharpness, below the losses of the run.
    seed
        Seed of the random start.
    data_seed
        Seed of the choice of images.
    """

    name: ClassVar[str] = "network"
    summary: ClassVar[str] = "mlp, vgg, resnet or transformer on digits, MNIST, CIFAR-10 (minutes)"

    step_size: tuple[float, ...] = ()
    steps: int = 2000
    sharpness_every: int = 20
    gfs_every: int = 200
    architecture: Architecture = "vgg"
    activation: Literal["tanh", "relu", "gelu", "softplus"] = "tanh"
    widths: tuple[int, ...] = ()
    depth: int = 1
    patch: int = 2
    heads: int = 2
    init_scale: float = 1.0
    data: Literal["digits", "mnist", "cifar10", "fashion-mnist"] = "digits"
    data_dir: str | None = None
    samples: int = 50
    image_size: int | None = None
    loss: Literal["squared", "cross-entropy"] = "squared"
    level: float = 0.01
    seed: int = 0
    data_seed: int = 0

    def check(self) -> None:
        """As for every descent, but that step sizes may be relative or left out; and the sizes."""
        if self.step_size and self.relative_step_size:
            raise ValueError("step_size and relative_step_size contradict each other: give one")
        DescentExperiment.check(replace(self, step_size=self.step_size or (1.0,)))
        for name in ("init_scale", "level"):
            check_positive(name, getattr(self, name))
        for name in ("patch", "heads", "samples"):
            self.check_at_least(name, 1)
        self.check_at_least("depth", 1, MOST_LAYERS)
        for name in ("seed", "data_seed"):
            self.check_at_least(name, 0)
        check_widths(self.widths)
        if self.architecture == "transformer" and len(set(self.widths)) > 1:
            raise ValueError(f"widths of a transformer must all be equal, got {self.widths}")

    def build(self) -> tuple[Any, Any]:
        """Return the problem, and a start from `seed`."""
        from functools import partial

        import jax

        from thalweg import models, problems
        from thalweg.data import load_images, training_data
        from thalweg.models.parameters import made

        images = load_images(self.data, self.data_dir)
        x, y = training_data(images, self.samples, self.image_size, self.data_seed)
        networks: dict[str, Callable[..., Any]] = {
            "mlp": models.mlp,
            "vgg": models.vgg,
            "resnet": models.resnet,
            "transformer": models.transformer,
        }
        start = made(lambda: self._start(jax.random.key(self.seed), x.shape[1:], y.shape[1]))
        problem = problems.Supervised(
            partial(networks[self.architecture], activation=models.ACTIVATIONS[self.activation]),
            x,
            y,
            loss=self.loss.replace("-", "_"),
        )
        return problem, jax.tree.map(lambda array: self.init_scale * array, start)

    def _start(self, key: Any, image: tuple[int, int, int], outputs: int) -> Any:
        from math import prod

        from thalweg import models

        widths = self.widths or _WIDTHS[self.architecture]
        match self.architecture:
            case "mlp":
                return models.mlp_init(key, (prod(image), *widths, outputs))
            case "vgg":
                return models.vgg_init(
                    key, image, outputs, channels=widths, convolutions=self.depth
                )
            case "resnet":
                return models.resnet_init(key, image, outputs, channels=widths, blocks=self.depth)
            case "transformer":
                return models.transformer_init(
                    key,
                    image,
                    outputs,
                    patch=self.patch,
                    width=widths[0],
                    depth=len(widths),
                    heads=self.heads,
                )

    def resolved(self, problem: Any, start: Any, announce: Callable[[str], None]) -> Self:
        """Return this with step sizes as numbers."""
        if self.step_size or self.relative_step_size:
            return super().resolved(problem, start, announce)
        from thalweg.descent.step_sizes import chosen_step_sizes

        return replace(self, step_size=chosen_step_sizes(problem, start, announce))

    def measurements(self) -> "list[Measurement]":
        """Return the sharpness, and the GFS sharpness or (cross-entropy) the truncated one."""
        if self.loss == "squared":
            return super().measurements()
        from thalweg.descent import Sharpness, TruncatedSharpness

        truncated = TruncatedSharpness(level=self.level, **self.flows())
        return [Sharpness(every=self.sharpness_every), truncated]
