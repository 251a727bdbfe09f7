"""`thalweg explore`: the live explorer, on the loopback address."""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass

from thalweg.cli.mistakes import BadInputError, parse


@dataclass(frozen=True, kw_only=True)
class _ExploreOptions:
    """Move a step size, drag a start, and see what gradient descent and gradient flow do.

    Attributes
    ----------
    port
        Port of the loopback address; 0 takes one that is free.
    browser
        Open a browser.
    """

    port: int = 5006
    browser: bool = True


def explore(
    arguments: list[str], start_jax: Callable[[], None], announce: Callable[[str], None]
) -> int:
    """Serve the explorer until Ctrl-C."""
    options = parse(_ExploreOptions, arguments, "thalweg explore", None)
    if importlib.util.find_spec("bokeh") is None:
        raise BadInputError("the explorer needs bokeh: pip install 'thalweg[explore]'")
    if not 0 <= options.port < 2**16:
        raise BadInputError(f"port must be from 0 to 65535, got {options.port}")
    announce("the explorer is being prepared: seconds")
    start_jax()
    from thalweg.explore.server import serve

    try:
        serve(options.port, browser=options.browser, announce=announce)
    except OSError as error:
        raise BadInputError(
            f"port {options.port} cannot be had ({error.strerror}): choose another one with --port"
        ) from error
    return 0
