"""One process at a time in a run folder: a lock that the operating system takes back.

The lock is filelock's, on a file that also says who holds it. It ends with its process, however
that ends: a file that is left behind without its process is no lock, and the next one takes it
over.

Where the file system has no locks, the file itself is the lock: only one process can have made it.
One that its process has left behind is taken over if it says that the process ran on this host, and
no such process is there; else it has to be removed by hand.
"""

import errno
import os
import socket
import tempfile
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Self

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout, lock_descriptor

from thalweg.runs.atomic_write import TEMPORARY

LOCK = ".thalweg-lock"
"""Name of the file in the folder."""

_UNSUPPORTED = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}
_PATIENCE = 0.1  # seconds, for those who only ask, or are just leaving


class InUseError(OSError):
    """Another running process uses the folder."""


class Lock:
    """A folder that this process has for itself until `release`."""

    def __init__(self, path: Path, lock: BaseFileLock):
        self._path, self._lock = path, lock

    @classmethod
    def take(cls, folder: Path) -> Self:
        """Lock a folder, or raise an OSError that says why that cannot be done.

        An InUseError says which process, or that another part of this one, has it.
        """
        path, advice = folder / LOCK, "wait until it ends, stop it, or choose another folder"
        try:
            if _has_locks(folder):
                kind = partial(FileLock, fallback_to_soft=False, on_acquired=partial(_sign, path))
            else:
                kind = partial(SoftFileLock)
                advice += f"; if it has ended, remove {path} (the file system has no locks)"
            lock = kind(path, timeout=_PATIENCE, poll_interval=_PATIENCE / 5, thread_local=False)
            lock.acquire()
        except Timeout as error:
            raise InUseError(f"{folder} is in use by {_holder(path)}: {advice}") from error
        except OSError as error:
            if error.filename is None:  # of the lock or the note, not of opening the file
                why = f"it cannot be locked: {error.strerror}"
                raise OSError(error.errno, why, str(path)) from error
            if isinstance(error, PermissionError):
                raise PermissionError(
                    f"{folder} cannot be written to: change its permissions, or choose another"
                ) from error
            raise
        return cls(path, lock)

    def release(self) -> None:
        """Give the folder back; to do so twice is no mistake, and it never fails."""
        if self._lock.is_locked:
            with suppress(OSError):  # Windows removes no open file, and filelock its own
                if isinstance(self._lock, FileLock):
                    self._path.unlink(missing_ok=True)
            with suppress(OSError):
                self._lock.release()


def check_unlocked(folder: Path) -> None:
    """Raise an InUseError where a process has locked a folder, as far as can be told."""
    try:
        if (folder / LOCK).exists():
            Lock.take(folder).release()
    except InUseError:
        raise
    except OSError:  # who cannot lock it cannot tell
        pass


def lock_holder(folder: Path) -> str | None:
    """Return the process that has locked a folder, as far as can be told; `None` for nobody."""
    try:
        check_unlocked(folder)
    except InUseError:
        return _holder(folder / LOCK)
    return None


def _has_locks(folder: Path) -> bool:
    """Whether files can be locked there; or raise why that fails, on a file that nobody else has.

    filelock takes a lock that is refused by EACCES for one that another holds.
    """
    with tempfile.TemporaryFile(dir=folder, prefix=TEMPORARY) as file:
        try:
            if not lock_descriptor(file.fileno(), blocking=False):
                raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
            return False
    return True


def _sign(path: Path, file: int) -> None:
    """Say in the file who has locked it, as filelock does where the file is the lock."""
    try:
        os.ftruncate(file, 0)
        os.write(file, f"{os.getpid()}\n{socket.gethostname()}\n".encode())
    except OSError:
        path.unlink()
        raise


def _holder(path: Path) -> str:
    with suppress(OSError, ValueError):
        process, host, *_ = path.read_text(encoding="utf-8").splitlines()
        return f"process {process} on {host.partition('?')[0]}"
    return "another process"  # it has not said so yet
