"""One process at a time in a run folder: a lock that the operating system takes back.

The lock is `flock`'s, on a file that also says who holds it. It ends with its process, however that
ends: a file that is left behind without its process is no lock, and the next one takes it over.
"""

import errno
import json
import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Self

try:
    import fcntl
except ImportError:  # Windows has no flock: the file then only tells who is there
    fcntl = None  # type: ignore[assignment]

LOCK = ".thalweg-lock"
"""Name of the file in the folder."""

_UNSUPPORTED = {errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL}


class InUseError(OSError):
    """Another running process uses the folder."""


class Lock:
    """A folder that this process has for itself until `release`."""

    def __init__(self, path: Path, file: IO[str]):
        self._path, self._file = path, file

    @classmethod
    def take(cls, folder: Path) -> Self:
        """Lock a folder.

        Raises
        ------
        InUseError
            Another process, or another part of this one, has it; the message says which.
        PermissionError
            The folder cannot be written to.
        """
        path = folder / LOCK
        while True:
            try:
                file = path.open("a+", encoding="utf-8")
            except PermissionError as error:
                raise PermissionError(
                    f"{folder} cannot be written to: change its permissions, or choose another"
                ) from error
            try:
                _flock(file, folder)
            except BaseException:
                _close(file)
                raise
            # Whoever had it before may have removed the file while we waited to open it.
            if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
                break
            _close(file)
        lock = cls(path, file)
        try:
            file.truncate(0)
            json.dump({"pid": os.getpid(), "host": socket.gethostname()}, file)
            file.flush()
        except BaseException:
            lock.release()
            raise
        return lock

    def release(self) -> None:
        """Give the folder back; to do so twice is no mistake, and it never fails."""
        if not self._file.closed:
            with suppress(OSError):  # a file without its process is no lock
                self._path.unlink(missing_ok=True)
            _close(self._file)


def _close(file: IO[str]) -> None:
    with suppress(OSError):  # of what could not be written before; it is closed all the same
        file.close()


def _flock(file: IO[str], folder: Path) -> None:
    try:
        if fcntl is None:
            raise OSError(errno.ENOTSUP, "no locks")
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _UNSUPPORTED and _is_stale(_holder(file)):
            return
        holder = _holder(file)
        where = f"process {holder.get('pid', '?')} on {holder.get('host', '?')}"
        raise InUseError(
            f"{folder} is in use by {where}: wait until it ends, stop it, or choose another folder"
        ) from error


def _holder(file: IO[str]) -> dict[str, Any]:
    file.seek(0)
    try:
        content = json.loads(file.read())
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _is_stale(holder: dict[str, Any]) -> bool:
    """Whether nobody is there, where the file system has no locks and the file has to tell."""
    if holder.get("host") != socket.gethostname() or not isinstance(holder.get("pid"), int):
        return not holder
    try:
        os.kill(holder["pid"], 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
