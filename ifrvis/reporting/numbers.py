"""The one home of number formats: percent with one decimal, counts as they are, and arrows of the metrics.

Records hold fractions at full precision; multiplying by 100 and rounding happen here and nowhere else.
"""

__all__ = ["UNDEFINED", "headline", "is_count", "measured_text", "published_text"]

UNDEFINED = "–"  # a metric without a value, as the paper prints it
COUNTS = frozenset({"IDs"})
LOWER_IS_BETTER = frozenset({"IDs"})


def is_count(metric: str) -> bool:
    """Whether the metric is a count, not a share."""
    return metric in COUNTS


def headline(metric: str) -> str:
    """The metric with an arrow to where better is."""
    return metric + ("↓" if metric in LOWER_IS_BETTER else "↑")


def measured_text(metric: str, mean: float, std: float | None) -> str:
    """A measured mean with its standard deviation; one seed (`std` None) prints no plus-minus."""
    scale = 1 if is_count(metric) else 100
    if std is None:
        return _rounded(mean * scale, 0 if is_count(metric) else 1)
    return f"{_rounded(mean * scale, 1)} ± {_std_text(std * scale)}"


def published_text(metric: str, mean: float | None, std: float | None) -> str:
    """A value of the paper in its own units; the standard deviation keeps the digits printed."""
    if mean is None:
        return UNDEFINED
    text = _rounded(mean, 0 if is_count(metric) else 1)
    return text if std is None else f"{text} ± {std:g}"


def _std_text(std: float) -> str:
    return f"{std:.2f}" if std < 0.05 else f"{std:.1f}"  # 0.0 would claim that nothing varies


def _rounded(value: float, digits: int) -> str:
    return f"{round(value, digits) + 0.0:.{digits}f}"  # adding 0.0 turns -0.0 into 0.0
