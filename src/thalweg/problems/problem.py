"""A problem: a loss, and the one place where its derivatives come from.

Everything else in the package asks a `Problem` for values, gradients, Hessian-, Jacobian- and
transposed-Jacobian-vector products, and never differentiates by itself. A problem whose
derivatives are computed elsewhere (in micro-batches, sharded over devices, by another framework)
overrides the four methods below and works everywhere.

Work is counted in units of one gradient, by the fixed table `COST`, so that counts do not depend
on the machine.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, PyTree

from thalweg.problems.checks import check_not_traced, with_automatic_axes
from thalweg.problems.compiling import ProgramCache, join, split
from thalweg.problems.convolutions import with_products

Params = Any
Operator = Callable[[Any], Any]
VectorOperator = Callable[[Array], Array]


class Cost(NamedTuple):
    """Work of each derivative in units of one gradient (a fixed convention, not a timing)."""

    loss: float = 0.5
    gradient: float = 1.0
    hessian_product: float = 2.0
    jacobian_product: float = 1.0


COST = Cost()


class ExactLimit(NamedTuple):
    """Where gradient flow ends, in closed form.

    Attributes
    ----------
    w
        The parameters there.
    sharpness, error
        The top eigenvalue of the Hessian, and a bound on its error; infinite where none is known.
    loss
        The loss.
    is_saddle
        Whether the flow ends in a saddle.
    gradient_evaluations
        The work, in units of one gradient.
    eigenvector
        Of the sharpness, as a flat vector of shape `(p,)`, if it is known.
    """

    w: Params
    sharpness: float
    error: float
    loss: float
    is_saddle: bool
    gradient_evaluations: float
    eigenvector: Any


class Problem(eqx.Module):
    """A loss `L(w)` of parameters `w` (any pytree with at least one floating-point array).

    Subclasses define `__call__`; those with `L = ½ ‖r(w)‖²` also set `is_least_squares` and define
    `residuals`. Data are pytree leaves, so that compiled functions take them as arguments.
    Other leaves of `w`, Python numbers among them, pass through untouched; vectors `v` have the
    structure of `w` with `None` in their place.
    """

    @property
    def is_least_squares(self) -> bool:
        """Whether `residuals` and `jacobian` are available and `L = ½ ‖r‖²` holds."""
        return False

    def __call__(self, w: Params) -> Array:
        """Return the loss at `w`, a scalar."""
        raise NotImplementedError

    def residuals(self, w: Params) -> Array:
        """Return the residuals `r(w)`, an array of shape `(m,)` with `L(w) = ½ ‖r(w)‖²`."""
        raise NotImplementedError(f"{type(self).__name__} is not a least-squares problem")

    def value_and_gradient(self, w: Params) -> tuple[Array, Params]:
        """Return `L(w)` and `∇L(w)`."""
        return eqx.filter_value_and_grad(lambda w: self(w))(w)

    def gradient(self, w: Params) -> Params:
        """Return `∇L(w)`."""
        return self.value_and_gradient(w)[1]

    def hessian(self, w: Params) -> Operator:
        """Return the operator `v -> ∇²L(w) v` (linearised once, applied often)."""
        arrays, rest = eqx.partition(w, eqx.is_inexact_array)

        def gradient(arrays: PyTree) -> PyTree:
            return self.gradient(eqx.combine(arrays, rest))

        product = jax.linearize(gradient, arrays)[1]
        if _can_be_applied(product, arrays):
            return product
        transpose = jax.vjp(gradient, arrays)[1]
        return lambda v: transpose(v)[0]

    def jacobian(self, w: Params) -> tuple[Array, Operator, Operator]:
        """Return `r(w)` and the operators `v -> J v` and `u -> Jᵀ u`, `J = ∂r/∂w`."""
        arrays, rest = eqx.partition(w, eqx.is_inexact_array)

        def residuals(arrays: PyTree) -> Array:
            return self.residuals(eqx.combine(arrays, rest))

        r, product = jax.linearize(residuals, arrays)
        transpose = jax.linear_transpose(product, arrays)
        if not _can_be_applied(product, arrays):
            twice = jax.linear_transpose(lambda u: transpose(u)[0], r)
            return r, lambda v: twice(v)[0], lambda u: transpose(u)[0]
        return r, product, lambda u: transpose(u)[0]

    @property
    def samples(self) -> int | None:
        """The number of samples, where the residuals are known to be grouped by samples."""
        return None

    def independent_samples(self, w: Params) -> int | None:
        """Return `samples`, where the model can also be called on one sample at a time, at `w`."""
        return self.samples

    def jacobian_matrix(self, w: Params) -> Array:
        """Return `J`, shape `(m, p)`, columns ordered as in a flat vector: for few residuals."""
        r, _, transpose = self.jacobian(w)

        def row(u: Array) -> Array:
            return ravel_pytree(eqx.filter(transpose(u), eqx.is_inexact_array))[0]

        return jax.vmap(row)(jnp.eye(r.size, dtype=r.dtype))

    def exact_flow(self, w: Params) -> Callable[[Params | None], ExactLimit] | None:
        """Return what solves the flow from `w` in closed form, `None` where nothing does.

        It is given the limit of a neighbour, or `None`.
        """
        return None

    def sample_kernel(self, w: Params) -> Array | None:
        """Return `C`, shape `(n, n)`, with `J Jᵀ ≈ C ⊗ I` over samples and outputs, if known.

        It preconditions linear solves with `J Jᵀ`: its quality is a matter of speed alone.
        """
        return None


def _can_be_applied(linear: Operator, v: PyTree) -> bool:
    """Return whether a linear map can be applied: with `jax.custom_vjp`, only its transpose can."""
    return "custom_lin" not in str(jax.make_jaxpr(linear)(v))


class CallableLoss(Problem):
    """Any callable from parameters to a scalar. A pytree callable keeps its data as leaves."""

    loss: Callable[[Any], Any]

    def __call__(self, w: Params) -> Array:
        """Return what the callable returns, as an array."""
        return jnp.asarray(with_products(self.loss, w))


class FlatProblem(Problem):
    """A problem seen as a function of one vector of shape `(p,)`: the one flattening boundary."""

    problem: Problem
    rest: PyTree
    unravel: Callable[[Array], PyTree] = eqx.field(static=True)

    @property
    def is_least_squares(self) -> bool:
        """Whether the problem behind has residuals."""
        return self.problem.is_least_squares

    def tree(self, w: Array) -> Params:
        """Return the parameters, in their own structure, that the vector `w` stands for."""
        return eqx.combine(self.unravel(w), self.rest)

    def flat(self, tree: Params) -> Array:
        """Return the vector of the floating-point arrays of `tree`."""
        return ravel_pytree(eqx.filter(tree, eqx.is_inexact_array))[0]

    def __call__(self, w: Array) -> Array:
        """Return the loss, in the dtype of the vector."""
        return self.problem(self.tree(w)).astype(w.dtype)

    def residuals(self, w: Array) -> Array:
        """Return `r(w)`, shape `(m,)`."""
        return self.problem.residuals(self.tree(w)).astype(w.dtype)

    def residual_count(self, w: Array) -> int:
        """Return `m`, the number of residuals."""
        return int(_output_kind(_residuals, self.problem, self.tree(w))[0][0])

    def value_and_gradient(self, w: Array) -> tuple[Array, Array]:
        """Return the loss and its gradient, shape `(p,)`."""
        value, gradient = self.problem.value_and_gradient(self.tree(w))
        return value.astype(w.dtype), self.flat(gradient)

    def hessian(self, w: Array) -> VectorOperator:
        """Return `v -> ∇²L(w) v` on vectors of shape `(p,)`."""
        product = self.problem.hessian(self.tree(w))
        return lambda v: self.flat(product(self.unravel(v)))

    def jacobian(self, w: Array) -> tuple[Array, VectorOperator, VectorOperator]:
        """Return `r(w)` and the operators `J`, `Jᵀ` on vectors of shapes `(p,)` and `(m,)`."""
        r, product, transpose = self.problem.jacobian(self.tree(w))
        return (
            r.astype(w.dtype),
            lambda v: product(self.unravel(v)).astype(w.dtype),
            lambda u: self.flat(transpose(u.astype(r.dtype))),
        )

    @property
    def samples(self) -> int | None:
        """The number of samples of the problem behind, if known."""
        return self.problem.samples

    def independent_samples(self, w: Array) -> int | None:
        """Return the number of samples on which the model can be called one at a time."""
        return self.problem.independent_samples(self.tree(w))

    def jacobian_matrix(self, w: Array) -> Array:
        """Return `J`, shape `(m, p)`."""
        return self.problem.jacobian_matrix(self.tree(w)).astype(w.dtype)

    def sample_kernel(self, w: Array) -> Array | None:
        """Return the kernel of the problem behind, shape `(n, n)`, or `None`."""
        return self.problem.sample_kernel(self.tree(w))


def as_problem(loss: Callable[[Any], Any]) -> Problem:
    """Return `loss` itself if it is a `Problem`, else the `Problem` of that callable."""
    if isinstance(loss, Problem):
        return loss
    if not callable(loss):
        raise TypeError(
            f"the loss must be a Problem or a callable w -> scalar, not {type(loss).__name__}"
        )
    return CallableLoss(loss)


def flatten(loss: Callable[[Any], Any], w: Params) -> tuple[FlatProblem, Array]:
    """Check `loss` at `w` and return it as a function of one vector, and that vector.

    Raises
    ------
    TypeError
        `w` has no floating-point array, or is traced, or the loss does not return a real scalar.
    ValueError
        `w` holds a number that is not finite, or flax's batch statistics, or shapes do not fit.
    """
    problem = as_problem(loss)
    check_not_traced(problem, w, jnp.zeros(()))  # within `jit` every new array is traced
    _check_no_statistics(w)
    problem, w = with_automatic_axes((problem, w))
    arrays, rest = eqx.partition(w, eqx.is_inexact_array)
    arrays = jax.tree.map(jnp.asarray, arrays)
    leaves = jax.tree.leaves(arrays)
    if not leaves or sum(leaf.size for leaf in leaves) == 0:
        raise TypeError(
            "the parameters hold no floating-point array (a Python number is not trained); pass "
            "e.g. jnp.asarray(w, float)"
        )
    if any(jnp.iscomplexobj(leaf) for leaf in leaves):
        raise TypeError("the parameters hold complex numbers; split them in real and imaginary")
    vector, unravel = ravel_pytree(arrays)
    if not np.isfinite(np.asarray(vector)).all():
        raise ValueError("the parameters hold NaN or infinity; start from finite numbers")
    # Flat already: around it again, all would be compiled again.
    flat = problem if isinstance(problem, FlatProblem) else FlatProblem(problem, rest, unravel)
    _check_scalar(flat, vector, _hint_at_several(w))
    return flat, vector


def _check_no_statistics(w: Params) -> None:
    if isinstance(w, Mapping) and {"params", "batch_stats"} <= w.keys():
        raise ValueError(
            "the parameters hold flax's batch_stats, which are no parameters: pass w['params'], "
            "and let the model close over the rest, as in model.apply({'params': w, 'batch_stats': "
            "stats}, x, use_running_average=True)"
        )

    def is_statistic(node: Any) -> bool:
        return type(node).__name__ == "BatchStat" and type(node).__module__.startswith("flax.")

    if any(map(is_statistic, jax.tree.leaves(w, is_leaf=is_statistic))):
        raise ValueError(
            "the parameters hold flax's BatchStat, which are no parameters: split them off by "
            "graph, w, rest = nnx.split(model, nnx.Param, ...), and let predict call "
            "nnx.merge(graph, w, rest)(x)"
        )


def _hint_at_several(w: Params) -> str:
    """Return words for parameters that look like a list of several starts, else nothing."""
    if not isinstance(w, list | tuple) or len(w) < 2 or hasattr(w, "_fields"):
        return ""
    shapes = [
        (jax.tree.structure(one), [jnp.shape(leaf) for leaf in jax.tree.leaves(one)]) for one in w
    ]
    if any(shape != shapes[0] for shape in shapes):
        return ""
    return (
        f"the parameters are a {type(w).__name__} of {len(w)} alike: if these are several starts, "
        "ask for each of them, as in [thalweg.sharpness(loss, w) for w in starts]; else "
    )


_OUTPUT_KINDS = ProgramCache()


def _output_kind(
    function: Callable[[Any, Any], Any], problem: Problem, w: Params
) -> tuple[Any, ...]:
    """Return shape and dtype of `function(problem, w)`, `None` if no array, and its type's name.

    Found once for what a problem and its parameters are made of, without the numbers: a descent
    that measures every iterate asks every time, and tracing takes longer than small losses.
    """
    arrays, structure, constants = split((problem, w))
    kinds = tuple(a if a is None else (a.shape, jnp.result_type(a)) for a in arrays)

    def find(weak: Any) -> tuple[Any, ...]:
        def output(arrays: list[Any]) -> Any:
            return function(*join(arrays, structure, weak))

        shapes = [kind if kind is None else jax.ShapeDtypeStruct(*kind) for kind in kinds]
        out = eqx.filter_eval_shape(output, shapes)
        return getattr(out, "shape", None), getattr(out, "dtype", None), type(out).__name__

    kind: tuple[Any, ...] = _OUTPUT_KINDS.get_or_make((function, structure, kinds), constants, find)
    return kind


def _value(problem: Problem, w: Params) -> Any:
    return problem(w)


def _residuals(problem: Problem, w: Params) -> Any:
    return problem.residuals(w)


def _check_scalar(flat: FlatProblem, vector: Array, alike: str) -> None:
    try:
        shape, dtype, name = _output_kind(_value, flat.problem, flat.tree(vector))
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"{alike}the loss cannot be evaluated at these parameters (do the shapes fit?): "
            f"{reason}"
        ) from error
    if shape != () or dtype is None or not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(
            "the loss must return one real scalar, but returned "
            f"{'shape ' + str(shape) if shape is not None else name}; "
            "reduce it, e.g. with jnp.mean"
        )
