"""Run folders: what they hold, how they are written, and how they are filled.

Nothing imported here imports JAX. The public names are those of `__init__.pyi`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
