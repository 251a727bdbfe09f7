"""thalweg: the sharpness of gradient flow solutions, with an error bar on every number.

Problems: `ScalarNetwork`, `SquaredRegression`, `DiagonalNetwork`, `Supervised`, or any callable
from parameters to a scalar. Questions: `gradient_flow_solution`, `gfs_sharpness_fall`,
`truncated_sharpness`, `sharpness`, `top_eigenpairs`, `descend`, `monotonicity`, `certify`.
Importing the package changes no setting of JAX, and does not wait for it: the names, which are
those of `__init__.pyi`, are imported when they are asked for.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
