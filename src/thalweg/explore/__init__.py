"""The live explorer: what can be seen is computed by functions of a setting, and shown by Bokeh.

`setting.py` is what is asked, `path.py` and `plane.py` are what is to be seen of a scalar network,
`network.py` is a run in the background; `panels.py`, `scalar_view.py` and `network_view.py` show
them, and `server.py` serves them on the loopback address. Bokeh is the extra `explore`.
"""
