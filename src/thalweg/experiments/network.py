"""Networks of several architectures on images, at step sizes relative to their sharpness."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import Field, dataclass, field, fields, make_dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, get_origin, get_type_hints

from thalweg.basics.checks import Count, Natural, Positive
from thalweg.experiments.computed import NetworkExperiment
from thalweg.models import ACTIVATIONS, ARCHITECTURES, Architecture

if TYPE_CHECKING:
    from thalweg.descent import Measurement

DEFAULT = "vgg"


@dataclass(frozen=True, kw_only=True)
class _Network(NetworkExperiment):
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
        Measure the GFS sharpness (cross-entropy: the truncated sharpness) at every so many steps:
        left out, at every eighth of the run, and before at step 1 and six more that grow apart.
    gfs_start
        The first step at which that is measured.
    gfs_also
        Further steps at which that is measured.
    gfs_at
        The steps at which that is measured, in place of the three above.
    gfs_points
        How many values of it each run has: half of them at steps that grow apart (or those of
        gfs_at), the others where it changes most, by going back.
    rtol
        Relative accuracy wanted of it.
    architecture
        The kind of network; none has batch normalisation.
    activation
        The activation function.
    init_scale
        Factor by which the random start is multiplied.
    data
        The images; all but digits and mnist are read from files.
    data_dir
        Folder with the files of the data: left out, fashion-mnist is that of Debian's package
        dataset-fashion-mnist.
    samples
        Number of images, chosen at random, the same number of each class within one.
    image_size
        Side to which the images are shrunk, in pixels; left out, they keep their size.
    loss
        The loss. For cross-entropy, which has no minimiser on separable data, the truncated
        sharpness is measured in place of the GFS sharpness.
    level
        The loss level of the truncated sharpness, below the losses of the run.
    data_seed
        Seed of the choice of images.
    """

    name: ClassVar[str] = "network"
    summary: ClassVar[str] = "mlp, vgg, resnet or transformer on digits, MNIST, CIFAR-10 (minutes)"
    chooses_step_sizes: ClassVar[bool] = True

    architectures: ClassVar[Mapping[str, type[Architecture]]]
    architecture: str
    activation: str
    step_size: tuple[float, ...] = ()
    steps: int = 2000
    sharpness_every: int = 20
    init_scale: Positive = 1.0
    data: Literal["digits", "mnist", "cifar10", "fashion-mnist"] = "digits"
    data_dir: str | None = None
    samples: Count = 50
    image_size: int | None = None
    loss: Literal["squared", "cross-entropy"] = "squared"
    level: Positive = 0.01
    data_seed: Natural = 0

    def check(self) -> None:
        """As for every descent with seeds, and the sizes."""
        if self.step_size and self.relative_step_size:
            raise ValueError("step_size and relative_step_size contradict each other: give one")
        super().check()
        self.chosen.check()

    @property
    def title(self) -> str:
        """Architecture, data, loss."""
        options = {one.name: getattr(self.chosen, one.name) for one in fields(self.chosen)}
        size = " ".join(map(str, options.get("widths", ())))
        pixels = f" of {self.image_size} × {self.image_size} pixels" if self.image_size else ""
        return (
            f"{self.architecture}{f' of widths {size}' if size else ''}, {self.activation}, on "
            f"{self.samples} images ({self.data}){pixels}, {self.loss} loss"
        )

    @property
    def chosen(self) -> Architecture:
        """The architecture, with those of its options that were given."""
        kind = self.architectures[self.architecture]
        given = {one.name: getattr(self, one.name) for one in fields(kind)}
        return kind(**{name: value for name, value in given.items() if value not in ((), None)})

    def build(self) -> tuple[Any, Any]:
        """Return the problem, and a start from `seed`."""
        from functools import partial

        import jax

        from thalweg.data import load_images, training_data
        from thalweg.models.layers import init_if_fits
        from thalweg.problems import Supervised

        images = load_images(self.data, self.data_dir)
        x, y = training_data(images, self.samples, self.image_size, self.data_seed)
        network, image, outputs = self.chosen, x.shape[1:], y.shape[1]
        start = init_if_fits(lambda: network.init(jax.random.key(self.one_seed), image, outputs))
        problem = Supervised(
            partial(network.predict, activation=ACTIVATIONS[self.activation]),
            x,
            y,
            loss=self.loss.replace("-", "_"),
        )
        start = jax.tree.map(lambda array: self.init_scale * array, start)
        return self.placed(problem, start)

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
        from thalweg.descent import TruncatedSharpness

        return [self.sharpness(), TruncatedSharpness(level=self.level, **self.flows())]


_Several = list[tuple[str, Any, Any, Field[Any]]]
"""Of one name: the architectures that have such an option, its type without and with bounds, its
field."""


def network_experiment(architectures: Mapping[str, type[Architecture]]) -> type[Any]:
    """Return the experiment with the options of these architectures.

    What several of them have is one option. Where their defaults differ, it is left out by default,
    which stands for that of the architecture chosen.
    """
    found: dict[str, _Several] = {}
    for name, kind in architectures.items():
        plain, bounded = get_type_hints(kind), get_type_hints(kind, include_extras=True)
        for one in fields(kind):
            entry = name, plain[one.name], bounded[one.name], one
            found.setdefault(one.name, []).append(entry)
    if taken := {one.name for one in fields(_Network)} & set(found):
        raise ValueError(f"{min(taken)!r} is an option of every network: name it otherwise")
    entries = "".join(_docstring_entry(name, several) for name, several in found.items())
    return make_dataclass(
        "Network",
        [
            ("architecture", _one_of(architectures), field(default=DEFAULT)),
            ("activation", _one_of(ACTIVATIONS), field(default="tanh")),
            *(_option(name, several) for name, several in found.items()),
        ],
        bases=(_Network,),
        namespace={
            "__doc__": f"{(_Network.__doc__ or '').rstrip()}\n{entries}",
            "__module__": __name__,
            "architectures": architectures,
        },
        frozen=True,
        kw_only=True,
    )


def _one_of(names: Iterable[str]) -> Any:
    return Literal.__getitem__(tuple(names))


def _option(name: str, several: _Several) -> tuple[str, Any, Any]:
    (_, plain, hint, first), *others = several
    if any(other != plain for _, other, _, _ in others):
        raise ValueError(f"the option {name!r} has several types: name one of them otherwise")
    if _agree(several):
        return name, hint, field(default=first.default)
    origin: Any = get_origin(plain)
    if origin is tuple:
        return name, hint, field(default=())
    return name, hint | None, field(default=None)


def _agree(several: _Several) -> bool:
    first = several[0][-1]
    return all(one.default == first.default for *_, one in several)


def _docstring_entry(name: str, several: _Several) -> str:
    """Return the entry of a docstring: what the option is, for whom."""
    phrases: dict[str, list[str]] = {}
    for architecture, *_, one in several:
        phrases.setdefault(one.metadata["help"], []).append(architecture)
    text = ", ".join(f"{help} ({', '.join(names)})" for help, names in phrases.items())
    left_out = "" if _agree(several) else "; left out, a usual one"
    return f"    {name}\n        {text[0].upper()}{text[1:]}{left_out}.\n"


Network: Any = network_experiment(ARCHITECTURES)
