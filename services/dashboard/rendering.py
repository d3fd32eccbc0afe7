"""Pages from templates."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from services.dashboard.charts.theme import NARROW, WIDE, Size
from services.dashboard.core import formats
from services.dashboard.core.model_history import pick_headlines
from services.dashboard.core.results import is_good
from services.dashboard.tokens import Tokens

HERE = Path(__file__).parent
STATIC = HERE / "static"

# Nothing from anywhere else, no script in a page; charts bring style attributes of their own.
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "style-src-attr 'unsafe-inline'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Pages:
    """Renders templates; every form gets a token."""

    def __init__(self, tokens: Tokens) -> None:
        """Read the templates when they are first used."""
        self.tokens = tokens
        self._environment = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals["static_version"] = _static_version()
        self._environment.globals["metric_names"] = formats.METRIC_NAMES
        self._environment.globals["describe_metric"] = formats.describe_metric
        self._environment.filters |= {
            "change": formats.format_change,
            "interval": formats.format_interval,
            "mean": formats.format_mean,
            "count": formats.format_count,
            "p_value": formats.format_p_value,
            "share": formats.format_share,
            "time": formats.format_time,
            "duration": formats.format_duration,
            "moment": formats.format_moment,
            "plain_metrics": formats.name_metrics,
            "headline_metrics": pick_headlines,
            "is_good": is_good,
        }

    def render(
        self,
        request: Request,
        template: str,
        values: Mapping[str, Any] | None = None,
        *,
        status: int = 200,
    ) -> HTMLResponse:
        """Render a page."""
        browser, is_new = self.tokens.identify(request)
        html = self._environment.get_template(template).render(
            {"path": request.url.path, "token": self.tokens.make(browser), **(values or {})}
        )
        response = HTMLResponse(html, status, headers=HEADERS)
        if is_new:
            self.tokens.remember(response, browser)
        return response


def both_sizes(draw: Any) -> Markup:
    """Draw a chart for wide and for narrow screens; the style sheet shows one."""
    sizes: tuple[Size, ...] = (WIDE, NARROW)
    return Markup("".join(draw(size) for size in sizes))  # noqa: S704 - our own SVG


def _static_version() -> str:
    """Name the static files' content, so that browsers may keep them."""
    digest = hashlib.sha256()
    for path in sorted(STATIC.glob("*.*")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
