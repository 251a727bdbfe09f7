"""Files that are replaced as a whole or not at all."""

import errno
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

TEMPORARY = ".thalweg-temporary-"
"""How the names of files begin that are being written: what a killed process leaves of them."""


_CANNOT = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}
"""What file systems answer that have no such thing as synchronising."""


@contextmanager
def atomic_write(
    target: Path, before: Callable[[Path], None] = lambda temporary: None
) -> Iterator[Path]:
    """Replace a file as a whole or not at all: a context that yields the path to write to.

    The temporary file is in the folder of `target` and ends in the same name (so that writers
    which go by the suffix are content). It takes the place of `target` when the block ends, right
    after `before` was called with it, and is removed if the block fails.
    """
    # Not tempfile.mkstemp: its files are readable by their owner alone, whatever the umask.
    temporary = target.parent / f"{TEMPORARY}{uuid.uuid4().hex}-{target.name}"
    try:
        yield temporary
        _synchronise_file(temporary)
        before(temporary)
        os.replace(temporary, target)
        _synchronise_folder(target.parent)
    finally:
        # What cannot be removed must not hide why; resuming the run tries again.
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _synchronise_file(path: Path) -> None:
    """Have a file written out, where the file system can.

    Without this a power failure can leave the new name on an empty file.
    """
    with path.open("rb+") as file:
        try:
            os.fsync(file.fileno())
        except OSError as error:
            if error.errno not in _CANNOT:
                raise


def _synchronise_folder(folder: Path) -> None:
    """Have the names in a folder written out too, where the system can."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:  # the file is in place: a failure here takes nothing back
        pass
    finally:
        os.close(descriptor)
