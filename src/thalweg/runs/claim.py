"""A run folder that is taken for a run, with its configuration, before anything is computed.

Nothing here imports JAX: a run that is killed while JAX is loaded and its problem is built can be
resumed already.
"""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Self

from thalweg.runs.folder import RunFolder
from thalweg.runs.lock import Lock


@dataclass
class RunClaim:
    """A folder that this process has for itself, for one run, until `release`."""

    folder: RunFolder
    _lock: Lock
    has_written: bool = False  # the configuration is that of this claim, not an earlier one
    has_begun: bool = False  # from then on, what the run has written is kept
    began: float = field(default_factory=time.monotonic)

    @classmethod
    def of_new_run(
        cls, config: Mapping[str, Any], folder: str | os.PathLike[str], *, overwrite: bool = False
    ) -> Self:
        """Make the folder, lock it, and write `config` to `config.json`.

        An old run is left whole until the new one begins. Raises as `thalweg.experiments.run`;
        the folder is then as it was.
        """
        run_folder = RunFolder.create(folder, overwrite=overwrite)
        try:
            lock = Lock.take(run_folder.path)
        except BaseException:
            run_folder.remove_if_unused()
            raise
        claim = cls(run_folder, lock)
        with claim.guarding():
            run_folder.recheck(overwrite=overwrite)  # now that nobody else can change it
            if not run_folder.holds_old_run:
                claim.has_written = True
                run_folder.write_config(config)
        return claim

    @classmethod
    def of_run(cls, folder: RunFolder) -> Self:
        """Lock the folder of a run that is to go on."""
        return cls(folder, Lock.take(folder.path))

    def begin(self, config: Mapping[str, Any]) -> None:
        """Have `config` in `config.json`: the first write of a run that replaces another one."""
        if not self.has_begun:
            if not self.folder.has_config(config):
                self.folder.write_config(config)
            self.has_begun = True

    @contextmanager
    def guarding(self) -> Iterator[None]:
        """Release the folder if the block is left by an exception.

        An error before the run has begun leaves the folder as it was found; an interruption leaves
        the configuration, to be resumed.
        """
        try:
            yield
        except BaseException as error:
            if isinstance(error, Exception) and self.has_written and not self.has_begun:
                self.has_written = False
                with suppress(OSError):
                    self.folder.config.unlink(missing_ok=True)
            self.release()
            raise

    def release(self) -> None:
        """Give the folder back; one that is new and has remained empty is removed."""
        self._lock.release()
        self.folder.remove_if_unused()
