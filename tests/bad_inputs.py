"""What the tests of bad inputs share: generated examples that are counted, and what must hold."""

import contextlib
import functools
import io
import re
import signal

from hypothesis import HealthCheck, given, settings

import thalweg as tw
from thalweg import cli

QUESTIONS = {
    "flow": tw.gradient_flow_solution,
    "sharpness": tw.sharpness,
    "eigenpairs": tw.top_eigenpairs,
    "descend": lambda loss, w: tw.descend(loss, w, step_size=0.1, steps=2),
    "truncated": lambda loss, w: tw.truncated_sharpness(loss, w, level=1e-3),
    "fall": lambda loss, w: tw.gfs_sharpness_fall(loss, w, w),
}

PROMISED = {}


class HangError(BaseException):
    """Not an `Exception`, so that nothing takes it for an error of the input."""


def examples(number, **strategies):
    """Run a test on exactly so many generated inputs, each within 20 seconds."""

    def decorate(test):
        PROMISED[test.__name__] = number
        tried = [0]

        @settings(
            max_examples=number,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(**strategies)
        @functools.wraps(test)
        def generated(*args, **kwargs):
            tried[0] += 1
            with within(20, kwargs):
                test(*args, **kwargs)

        @functools.wraps(generated)
        def counted(*args, **kwargs):
            generated(*args, **kwargs)
            assert tried[0] >= number, f"only {tried[0]} of {number} inputs could be generated"

        return counted

    return decorate


@contextlib.contextmanager
def within(seconds, what=""):
    def give_up(number, frame):
        raise HangError(f"{what} took longer than {seconds} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def without_progress(err):
    """Return what is on stderr, without the lines that say what takes long."""
    return re.sub(r"^thalweg: \d\d:\d\d:\d\d .*\n", "", err, flags=re.MULTILINE)


def thalweg(*arguments):
    """Run the command line in this process; return exit code, stdout and stderr."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.main([str(argument) for argument in arguments])
    return code, out.getvalue(), without_progress(err.getvalue())


def snapshot(folder):
    """Return everything below a folder, with its contents."""
    return {
        entry.relative_to(folder): entry.read_bytes() if entry.is_file() else entry.is_dir()
        for entry in folder.rglob("*")
    }


def assert_refused(folder, *arguments):
    """Assert that a command is refused in one line, and that the folder is as it was."""
    before = snapshot(folder)
    code, out, err = thalweg(*arguments)
    shown = (arguments, code, out, err)
    assert (code, out) == (cli.BAD_INPUT, ""), shown
    assert err.startswith("thalweg: error: "), shown
    assert len(err.splitlines()) == 1, shown
    assert err.endswith("\n"), shown
    assert len(err.split()) > 4, shown  # it says something
    assert snapshot(folder) == before, shown
    return err
