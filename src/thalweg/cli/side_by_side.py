"""Commands side by side: a few at a time, each in a process of its own, all stopped together."""

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Self

from thalweg.cli.exit_codes import BAD_INPUT, INTERRUPTED, NOT_DONE
from thalweg.cli.mistakes import BadInputError, NotDoneError

_PATIENCE = 0.2  # seconds between looks at whether all is to stop
_ERROR = "thalweg: error: "
_ONE_CORE = {"NPROC": "1", "OMP_NUM_THREADS": "1"}  # what XLA and BLAS take for their threads


class SideBySide:
    """`thalweg` commands that begin with the first wait for one; its `with` block ends them all.

    Each has the threads of one core. They are out of reach of the terminal's Ctrl-C, which is for
    the process that waits for them.

    Parameters
    ----------
    commands
        The arguments of each, by a name; begun in this order.
    processes
        How many run at a time.
    relay
        Called, by threads, with each line that they tell of their progress.
    """

    def __init__(
        self, commands: Mapping[str, Sequence[str]], processes: int, relay: Callable[[str], None]
    ):
        self._commands, self._relay = commands, relay
        self._pool = ThreadPoolExecutor(processes)
        self._codes: dict[str, Future[int]] = {}
        self._running: set[subprocess.Popen[str]] = set()
        self._lock, self._over = threading.Lock(), False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()
        self._pool.shutdown()

    def exit_code(self, name: str, must_stop: Callable[[], bool]) -> int | None:
        """Wait for a command, and return its exit code; `None` where there is none of that name.

        All are asked to save and stop once `must_stop` says so. One that could not be done raises
        what it said.
        """
        if name not in self._commands:
            return None
        for other, arguments in self._commands.items() if not self._codes else ():
            self._codes[other] = self._pool.submit(self._run, arguments)
        while not wait([self._codes[name]], timeout=_PATIENCE).done:
            if must_stop():
                self._stop()
        return self._codes[name].result()

    def _stop(self) -> None:
        with self._lock:
            if not self._over:
                self._over = True
                for process in self._running:
                    with contextlib.suppress(OSError):
                        process.send_signal(signal.SIGINT)

    def _run(self, arguments: Sequence[str]) -> int:
        with self._lock:
            if self._over:
                return INTERRUPTED
            process = subprocess.Popen(
                [sys.executable, "-m", "thalweg.cli", *arguments],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                start_new_session=True,
                env={**os.environ, **_ONE_CORE},
            )
            self._running.add(process)
        mistake = ""
        assert process.stderr is not None
        with process.stderr:
            for line in process.stderr:
                if line.startswith(_ERROR):
                    mistake = line.removeprefix(_ERROR).strip()
                elif not self._over:
                    self._relay(line.rstrip())
        code = process.wait()
        with self._lock:
            self._running.discard(process)
        if code == BAD_INPUT:
            raise BadInputError(mistake)
        if code == NOT_DONE or (code < 0 and not self._over):
            ended = f"`thalweg {shlex.join(arguments)}` ended with exit code {code}: see above"
            raise NotDoneError(mistake or ended)
        return code
