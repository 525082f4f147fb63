"""The one home of number formats and colours: percent with one decimal, counts as they are, arrows of the metrics.

Records hold fractions at full precision; multiplying by 100 and rounding happen here and nowhere else.
"""

from collections.abc import Sequence

from ifrvis.evaluation.scores import KINDS

UNDEFINED = "–"  # a metric without a value, as the paper prints it
COUNTS = frozenset({"IDs"})
# Per object-frame tracked: shown per hundred.
ERRORS = frozenset({*KINDS, "errors", "errors_at_half", "errors_at_equal_recall"})
RATES = {"ids_per_recalled_box": 4, "tracks_per_video": 2, "false_positives_per_frame": 2}  # as named; their digits
LESS_IS_BETTER = COUNTS | ERRORS | {"never_found", "ids_per_recalled_box", "false_positives_per_frame"}
# Columns in which neither more nor less is better: no arrow.
NO_ARROW = {"Parameters": "Parameters (M)", "FPS": "Frames/s", "tracks_per_video": "tracks per video"}
SCALES = {**dict.fromkeys((*COUNTS, *RATES, "FPS"), 1), "Parameters": 1e-6}  # elsewhere 100: percent
DIGITS = {**dict.fromkeys(ERRORS, 2), **RATES, "Parameters": 2}  # elsewhere one

# Identities, told apart by people who see no red or no green; they carry their number, too.
IDENTITY_COLOURS = (
    *("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#cc79a7", "#d55e00", "#0072b2", "#b3b3ff", "#9ae6b4", "#ff8fa3"),
    *("#c9a26b", "#ffffff"),
)
ERROR_COLOURS = {"change": "#a86a00", "switch": "#c2255c", "merged": "#7c4dbc", "lost": "#66727f"}
ERROR_COLOURS["duplicate"] = "#007f94"
PAGE_COLOURS = {  # in light, in dark; text on its ground has a contrast of 4.5 or more
    "ink": ("#1c2126", "#e4e8ec"),
    "soft": ("#565f69", "#a3adb8"),
    "ground": ("#ffffff", "#14181c"),
    "raised": ("#f4f6f8", "#1e242a"),
    "line": ("#d5dbe1", "#39424b"),
    "accent": ("#0b5cad", "#7fb8f5"),
    "good": ("#12692f", "#6fd08c"),
    "bad": ("#a3221c", "#ff938a"),
    "open": ("#7a4f00", "#eab652"),
}
LINE_COLOURS, SEED_COLOUR = ("#0b5cad", "#d55e00", "#009e73"), "#7d8791"
COLUMN_IN, FONT_PT = (3.15, 2.5), 7  # of a figure in one column of a paper


def scale(metric: str) -> float:
    """What a stored value is multiplied by where people read it."""
    return SCALES.get(metric, 100)


def stored(metric: str, printed: float | None) -> float | None:
    """What a printed value would be in a record, with no more digits than it has."""
    return None if printed is None else round(printed / scale(metric), 9)


def headline(metric: str) -> str:
    """The metric with an arrow to where better is."""
    return NO_ARROW.get(metric) or metric.replace("_", " ") + ("↓" if metric in LESS_IS_BETTER else "↑")


def units_text(metrics: Sequence[str]) -> str:
    """The units in which some metrics are shown."""
    text = "percent"
    for unit, of in {"a count": COUNTS, "per hundred object-frames tracked": ERRORS, "as named": RATES}.items():
        named = [metric.replace("_", " ") for metric in metrics if metric in of]
        text += f", {', '.join(named)} {unit}" * bool(named)
    return text


def measured_text(metric: str, mean: float | None, std: float | None) -> str:
    """A measured mean with its standard deviation, but of one seed (`std` None), and of what a seed does not move."""
    if mean is None:
        return UNDEFINED
    digits = DIGITS.get(metric, 1)
    if std is None or metric == "Parameters":
        return f"{mean * scale(metric):z.{0 if metric in COUNTS else digits}f}"
    std *= scale(metric)
    std_digits = digits + (0 < std < 0.5 * 0.1**digits)  # 0.0 says that nothing varies
    return f"{mean * scale(metric):z.{digits}f} ± {std:.{std_digits}f}"


def published_text(metric: str, mean: float | None, std: float | None) -> str:
    """A value of the paper in its own units; the standard deviation keeps the digits printed."""
    if mean is None:
        return UNDEFINED
    text = f"{mean:z.{0 if metric in COUNTS else 1}f}"
    return text if std is None else f"{text} ± {std:g}"


def difference_text(metric: str, value: float, digits: int = 1) -> str:
    """A difference of stored values, with its sign."""
    text = f"{value * scale(metric):z.{max(digits, DIGITS.get(metric, 1))}f}"  # z: no -0.0
    return text if text.startswith("-") or not float(text) else f"+{text}"


def interval_text(metric: str, ends: Sequence[float] | None) -> str:
    """An interval of differences of stored values."""
    return " to ".join(difference_text(metric, end) for end in ends) if ends else UNDEFINED


def p_text(p: float | None, test: str) -> str:
    """A p-value, and of which test it is."""
    return UNDEFINED if p is None else f"{'< 0.001' if p < 0.001 else f'{p:.3f}'}, {test}"
