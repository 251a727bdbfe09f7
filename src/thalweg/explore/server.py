"""The explorer as a server on the loopback address, for whoever sits at this machine."""

from collections.abc import Callable
from typing import Any

from bokeh.application import Application
from bokeh.application.handlers import FunctionHandler
from bokeh.document import Document
from bokeh.models import Div, TabPanel, Tabs
from bokeh.server.server import Server

from thalweg.explore.network_view import NetworkView
from thalweg.explore.scalar_view import ScalarView
from thalweg.explore.setting import PRESETS, Setting

_HINT = """\
Red: gradient descent. Blue: from every iterate, gradient flow to where it ends. Point at a step for
its numbers, and for the theorem that applies to it. <b>At depth two, drag or click the start:</b>
shades are φ, the sharpness where the flow ends, which is constant along flow lines; black are the
minima w₁w₂ = 1, green where they are flatter than 2/η."""


def show(document: Document) -> None:
    """Put the explorer into the document of a visitor, at the setting of the address."""
    scalar, network = ScalarView(), NetworkView(document)
    context: Any = document.session_context
    arguments = context.request.arguments if context is not None else {}
    try:
        setting = Setting.at_address({name: one[0].decode() for name, one in arguments.items()})
        scalar.show(setting, fit=True)
    except ValueError as error:
        scalar.show(next(iter(PRESETS.values())), fit=True)
        scalar.readout.text = str(error)
    panels = [
        TabPanel(child=scalar.layout, title="scalar network"),
        TabPanel(child=network.layout, title="small network"),
    ]
    document.title = "thalweg: explorer"
    document.add_root(Div(text=_HINT, width=1100))
    document.add_root(Tabs(tabs=panels))


def serve(port: int, *, browser: bool, announce: Callable[[str], None]) -> None:
    """Serve the explorer until Ctrl-C; `port` 0 takes one that is free.

    Raises
    ------
    OSError
        The port cannot be had.
    """
    server = Server({"/": Application(FunctionHandler(show))}, port=port, address="127.0.0.1")
    announce(f"the explorer is at http://localhost:{server.port} (Ctrl-C ends it)")
    server.start()
    if browser:
        server.io_loop.add_callback(server.show, "/")
    try:
        server.io_loop.start()
    except KeyboardInterrupt:
        announce("the explorer has ended")
    finally:
        server.stop()
