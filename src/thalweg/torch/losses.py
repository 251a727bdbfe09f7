"""Losses of torch that are known, so that residuals are."""

from typing import Any

from thalweg.basics.lazy import Lazy

torch = Lazy("torch")


def recognize(loss: Any, outputs: Any, y: Any) -> tuple[str | None, float, Any]:
    """Return the name by which `tw.Supervised` knows a loss, a scale of outputs, and targets.

    `nn.MSELoss()` is `Σ (s outputs - s y)² / (2n)` with `s² = 2n / entries`, and with the reduction
    `"sum"` `s² = 2n`, over `n` samples. `nn.CrossEntropyLoss()` of class numbers or probabilities
    is a mean over samples. The name is `None` for every other loss, which stands for itself.
    """
    functional = torch.nn.functional
    if type(loss) is torch.nn.MSELoss or loss is functional.mse_loss:
        reduction = getattr(loss, "reduction", "mean")
        if reduction in ("mean", "sum"):
            return _squares(reduction, outputs, y)
    if type(loss) is torch.nn.CrossEntropyLoss:
        if loss.reduction == "mean" and loss.weight is None and not (y == loss.ignore_index).any():
            return _cross_entropy(loss.label_smoothing, outputs, y)
    elif loss is functional.cross_entropy and not (y == -100).any():
        return _cross_entropy(0.0, outputs, y)
    return None, 1.0, y


def _squares(reduction: str, outputs: Any, y: Any) -> tuple[str | None, float, Any]:
    if outputs.shape != y.shape:
        raise ValueError(
            f"the model returns shape {tuple(outputs.shape)}, but y has {tuple(y.shape)}, which "
            "torch would spread over each other: make them equal"
        )
    entries = outputs.numel() if reduction == "mean" else 1
    scale = float((2 * len(y) / entries) ** 0.5)
    return "squared", scale, scale * y.double()


def _cross_entropy(smoothing: float, outputs: Any, y: Any) -> tuple[str | None, float, Any]:
    if outputs.ndim != 2:
        return None, 1.0, y
    if smoothing:
        classes = outputs.shape[1]
        if not y.is_floating_point():
            y = torch.nn.functional.one_hot(y, classes).double()
        y = (1 - smoothing) * y + smoothing / classes
    return "cross_entropy", 1.0, y
