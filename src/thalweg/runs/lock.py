"""One process at a time in a run folder: a lock that the operating system takes back.

The lock is `flock`'s, on a file that also says who holds it. It ends with its process, however that
ends: a file that is left behind without its process is no lock, and the next one takes it over.

Where the file system has no locks (or the system has none), the file itself is the lock: only one
process can have made it. One that its process has left behind is taken over if it says that the
process ran on this host, and no such process is there; else it has to be removed by hand.
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
except ImportError:  # Windows has no flock
    fcntl = None  # type: ignore[assignment]

LOCK = ".thalweg-lock"
"""Name of the file in the folder."""

_HELD = {errno.EWOULDBLOCK, errno.EAGAIN}
_UNSUPPORTED = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}


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
        OSError
            The file could not be locked for another reason, which the message says.
        """
        path = folder / LOCK
        while True:
            file, is_new = _opened(path)
            try:
                _flock(file, path, is_new=is_new)
                # Whoever had it before may have removed the file while we waited to open it.
                if _is_at(file, path):
                    break
            except BaseException:
                _close(file)
                if is_new:
                    with suppress(OSError):
                        path.unlink()
                raise
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
            if fcntl is None:  # Windows removes no open file
                _close(self._file)
            with suppress(OSError):  # a file without its process is no lock
                self._path.unlink(missing_ok=True)
            _close(self._file)


def who_uses(folder: Path) -> str | None:
    """Return the process that has locked a folder, as far as can be told; `None` for nobody."""
    try:
        with (folder / LOCK).open(encoding="utf-8") as file:
            # A shared lock: of those who only ask, none is in the way of another.
            failure = _failure(file, shared=True)
            is_held = failure is not None and (
                failure.errno in _HELD
                or (failure.errno in _UNSUPPORTED and not _is_left_behind(_holder(file)))
            )
            return _described(_holder(file)) if is_held else None
    except OSError:
        return None


def _opened(path: Path) -> tuple[IO[str], bool]:
    """Return the file, open, and whether it was made just now."""
    try:
        try:
            return path.open("x+", encoding="utf-8"), True
        except FileExistsError:
            return path.open("a+", encoding="utf-8"), False
    except PermissionError as error:
        raise PermissionError(
            f"{path.parent} cannot be written to: change its permissions, or choose another"
        ) from error


def _is_at(file: IO[str], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _close(file: IO[str]) -> None:
    with suppress(OSError):  # of what could not be written before; it is closed all the same
        file.close()


def _failure(file: IO[str], *, shared: bool) -> OSError | None:
    """Lock the file, or return why not."""
    try:
        if fcntl is None:
            raise OSError(errno.ENOTSUP, "no locks")
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        return error
    return None


def _flock(file: IO[str], path: Path, *, is_new: bool) -> None:
    failure = _failure(file, shared=False)
    if failure is None:
        return
    holder, advice = _holder(file), "wait until it ends, stop it, or choose another folder"
    if failure.errno in _UNSUPPORTED:
        if is_new or _is_left_behind(holder):
            return
        advice += f"; if it has ended, remove {path} (the file system has no locks)"
    elif failure.errno not in _HELD:
        raise OSError(
            failure.errno, f"it cannot be locked: {failure.strerror}", str(path)
        ) from failure
    raise InUseError(f"{path.parent} is in use by {_described(holder)}: {advice}") from failure


def _described(holder: dict[str, Any]) -> str:
    if not holder:  # it has not said so yet
        return "another process"
    return f"process {holder.get('pid')} on {holder.get('host')}"


def _holder(file: IO[str]) -> dict[str, Any]:
    file.seek(0)
    try:
        content = json.loads(file.read())
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _is_left_behind(holder: dict[str, Any]) -> bool:
    """Whether the process that is said to hold the lock ran on this host, and is gone."""
    if fcntl is None:  # to ask Windows is to end that process
        return False
    if holder.get("host") != socket.gethostname() or not isinstance(holder.get("pid"), int):
        return False
    try:
        os.kill(holder["pid"], 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False
