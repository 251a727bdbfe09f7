"""How the figure of a run is drawn, and in which formats it is written."""

from dataclasses import dataclass
from typing import Annotated, Any

from msgspec import Meta

from thalweg.basics.checks import check_fields

FORMATS = ("png", "pdf", "svg")
"""The endings of figures."""

_Dots = Annotated[int, Meta(ge=10, le=2000, description="from 10 to 2000")]
_Inches = Annotated[float, Meta(ge=1, le=100, description="from 1 to 100 inches")]


@dataclass(frozen=True, kw_only=True)
class FigureOptions:
    """How the figure is drawn.

    Attributes
    ----------
    format
        Formats of the figure, such as pdf,svg,png.
    dpi
        Dots per inch of what is not drawn by lines: of all of a PNG.
    width
        Width in inches: 3.25 is one column of most papers, 6.75 both; left out, what is needed.
    title
        Title of the figure: left out, what was run; "" for none.
    log_steps
        Make the axis of steps logarithmic: left out, where most happens in the first tenth.
    """

    format: tuple[str, ...] = ("png",)
    dpi: _Dots = 200
    width: _Inches | None = None
    title: str | None = None
    log_steps: bool = False

    @property
    def formats(self) -> list[str]:
        """The formats, each once."""
        named = [name.strip() for entry in self.format for name in entry.split(",")]
        return list(dict.fromkeys(name.lower() for name in named if name))

    @property
    def layout(self) -> dict[str, Any]:
        """What `thalweg.figures.plot` takes."""
        return {"width": self.width, "title": self.title, "log_steps": self.log_steps or None}

    def check(self) -> None:
        """Raise a ValueError for the first option that makes no sense."""
        check_fields(self)
        unknown = [name for name in self.formats if name not in FORMATS]
        if unknown or not self.formats:
            raise ValueError(
                f"format is one or several of {', '.join(FORMATS)}, got {','.join(self.format)!r}: "
                "change it"
            )
