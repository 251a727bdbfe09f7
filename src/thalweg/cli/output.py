"""Where results go."""

import dataclasses
from pathlib import Path


@dataclasses.dataclass(frozen=True, kw_only=True)
class Output:
    """Where results go.

    Attributes
    ----------
    out
        Folder for the results; made if it does not exist.
    overwrite
        Replace the run that the folder already holds.
    """

    out: Path
    overwrite: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunOutput(Output):
    """Where the results of a run go.

    Attributes
    ----------
    resume
        Go on with this very run if the folder holds it, from its last checkpoint; else begin it.
    """

    resume: bool = False

    def check(self) -> None:
        """Raise a ValueError where old results are to be kept and to be replaced."""
        if self.overwrite and self.resume:
            raise ValueError("--overwrite and --resume contradict each other: choose one")
