"""How numbers and times are written on a page; what is absent is a dash, never NaN."""

import math
import re
from datetime import UTC, datetime, timedelta

from analysis.core.wording import NONE, describe_change, describe_interval

_ACRONYMS = {"mse", "ndcg"}

METRIC_NAMES = {
    "time": "Time",
    "sessions": "Sessions",
    "mean_request_latency": "Request latency",
    "mean_tracks_per_session": "Tracks per session",
    "mean_time_per_session": "Time per session",
    "completed_plays": "Completed plays",
    "retention": "Retention",
    "artists_per_session": "Artists per session",
    "skip_rate": "Skip rate",
    "repeat_share": "Repeat share",
    "fallback_share": "Fallback share",
    "latency_p50": "Median latency",
    "latency_p99": "99th percentile latency",
}


def format_change(value: float | None, upper: float | None = None) -> str:
    """Write a relative change in the unit of its interval, whose upper end is `upper`."""
    return describe_change(value, upper=upper).replace("-", "−")


def format_interval(bounds: tuple[float | None, float | None]) -> str:
    """Write an interval of a relative change."""
    return describe_interval(*bounds).replace("-", "−")


def format_mean(value: float | None) -> str:
    """Write a mean."""
    if value is None or not math.isfinite(value):
        return NONE
    return f"{value:z,.{3 if abs(value) < 1000 else 1}f}".replace("-", "−")


def format_value(value: float) -> str:
    """Write a number of any kind."""
    is_whole = float(value).is_integer() and value != 0
    return format_count(value) if is_whole or abs(value) >= 1000 else format_mean(value)


def describe_metric(name: str, value: float) -> tuple[str, str]:
    """Name a figure of a model version for readers, and write it with its unit."""
    spaced = name.removeprefix("n_").replace("_", " ")
    words = " ".join(w.upper() if w in _ACRONYMS else w for w in spaced.split())
    if name.endswith("_bytes"):
        return words.removesuffix(" bytes"), f"{value / 1e6:,.0f} MB"
    if name.endswith("_s"):
        return words.removesuffix(" s"), format_duration(value)
    return words, format_value(value)


def format_count(value: float | None) -> str:
    """Write a whole number."""
    return NONE if value is None or not math.isfinite(value) else f"{value:,.0f}"


def format_p_value(value: float | None) -> str:
    """Write a p-value."""
    if value is None:
        return NONE
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def format_share(value: float | None) -> str:
    """Write a share of one in percent."""
    if value is None or not math.isfinite(100 * value):
        return NONE
    return f"{100 * value:.1f}%"


def name_metrics(text: str) -> str:
    """Write a sentence of the analysis for readers: metrics by name, minus signs as such."""
    for metric, name in sorted(METRIC_NAMES.items(), key=lambda item: -len(item[0])):
        text = re.sub(rf"(?<!\w){metric}(?=[ ,.:(]|$)", name[0].lower() + name[1:], text)
    return re.sub(r"(?<=[ (])-(?=\d)", "−", text)


def format_moment(text: str | None) -> str:
    """Write a moment of another service's JSON."""
    return NONE if text is None else f"{format_time(datetime.fromisoformat(text))} UTC"


def format_time(value: datetime | None) -> str:
    """Write a moment, in UTC."""
    return NONE if value is None else f"{value.astimezone(UTC):%Y-%m-%d %H:%M}"


def format_duration(value: timedelta | float) -> str:
    """Write a length of time in its two largest units; a number is of seconds."""
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    units = (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))
    parts: list[tuple[int, str]] = []
    rest = round(seconds)
    for name, length in units:
        count, rest = divmod(rest, length)
        if count or parts:
            parts.append((count, name))
    shown = [f"{count} {name}" for count, name in parts[:2] if count]
    return " ".join(shown) or f"{max(seconds, 0):.1f} s"
