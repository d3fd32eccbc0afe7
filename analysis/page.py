"""A comparison as one HTML file, which needs nothing else."""

from collections.abc import Sequence
from html import escape

from analysis.core.comparison import Comparison
from analysis.core.effects import Effect
from analysis.core.metrics import BY_NAME
from analysis.core.wording import NONE, describe_change, describe_interval
from analysis.forest import draw_forest
from analysis.notes import notes

STYLE = """
:root { color-scheme: light dark; --ink: #1f2430; --muted: #6b7280; --line: #e4e7ec;
  --paper: #fff; --good: #1a7f5a; --bad: #c23b3b; }
@media (prefers-color-scheme: dark) { :root { --ink: #e7e9ee; --muted: #9aa2b1;
  --line: #2c313c; --paper: #15181e; --good: #4cc38a; --bad: #f07171; } }
body { margin: 0 auto; max-width: 72rem; padding: 2rem 1rem; background: var(--paper);
  color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
h1 { margin: 0; font-size: 1.6rem; } .muted { color: var(--muted); }
.decision { border-left: 4px solid var(--muted); padding: .4rem .9rem; margin: 1.2rem 0; }
.ship { border-color: var(--good); } .stop { border-color: var(--bad); }
.scroll { overflow-x: auto; } figure { margin: 1.5rem 0; background: #fff; border-radius: 8px; }
figure svg { width: 100%; height: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .6rem; text-align: right; border-bottom: 1px solid var(--line);
  white-space: nowrap; } th { color: var(--muted); font-weight: 600; }
th:first-child, td:first-child, td:nth-child(2), th:nth-child(2) { text-align: left; }
.better { color: var(--good); } .worse { color: var(--bad); }
"""
COLUMNS = (
    "arm",
    "metric",
    "effect",
    "interval",
    "at every look",
    "with history (CUPED)",
    "control",
    "arm's",
    "p",
    "p Holm",
    "p at every look",
    "power",
    "detectable",
)


def make_page(comparison: Comparison) -> str:
    """Make the page: decision, picture, table, notes."""
    title = escape(comparison.experiment)
    rows = "\n".join(_row(effect) for effect in comparison.effects)
    head = "".join(f"<th scope=col>{escape(column)}</th>" for column in COLUMNS)
    # matplotlib's SVG begins with an XML declaration, which HTML does not know.
    picture = draw_forest(comparison, image_format="svg").decode()
    picture = picture[picture.index("<svg") :]
    decision = comparison.decision
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>{STYLE}</style></head><body>
<h1>{title}</h1>
<p class="muted">{escape(_arms(comparison))}</p>
<p class="decision {decision.action}"><strong>{_headline(comparison)}</strong><br>
{escape(decision.reason)}</p>
<figure role="img" aria-label="Forest plot of the effects in the table below">{picture}</figure>
<div class="scroll" tabindex="0"><table><thead><tr>{head}</tr></thead><tbody>
{rows}
</tbody></table></div>
<ul>{"".join(f"<li>{escape(note)}</li>" for note in notes(comparison))}</ul>
</body></html>
"""


def _headline(comparison: Comparison) -> str:
    winner = escape(comparison.decision.winner or "")
    return {"ship": f"Ship {winner}", "stop": "Stop", "continue": "Go on"}[
        comparison.decision.action
    ]


def _arms(comparison: Comparison) -> str:
    return " · ".join(
        f"{arm.treatment}: {arm.n_users:,} users, {arm.n_sessions:,} sessions"
        for arm in comparison.arms
    )


def _row(effect: Effect) -> str:
    cells = [
        effect.treatment,
        effect.metric,
        describe_change(effect.effect_pct, upper=effect.upper_pct),
        describe_interval(effect.lower_pct, effect.upper_pct),
        describe_interval(effect.anytime_lower_pct, effect.anytime_upper_pct),
        describe_interval(effect.cuped_lower_pct, effect.cuped_upper_pct),
        _number(effect.control_mean),
        _number(effect.treatment_mean),
        *(_p_value(p) for p in (effect.p_value, effect.p_holm, effect.anytime_p_value)),
        NONE if effect.power is None else f"{100 * effect.power:.0f}%",
        describe_change(effect.mde_pct).removeprefix("+"),
    ]
    return f'<tr class="{_direction(effect)}">{_cells(cells)}</tr>'


def _cells(cells: Sequence[str]) -> str:
    return "".join(f"<td>{escape(cell)}</td>" for cell in cells)


def _direction(effect: Effect) -> str:
    if not effect.significant:
        return "open"
    is_higher = (effect.treatment_mean or 0.0) > (effect.control_mean or 0.0)
    return "better" if is_higher == BY_NAME[effect.metric].higher_is_better else "worse"


def _number(value: float | None) -> str:
    return NONE if value is None else f"{value:z,.3f}"


def _p_value(value: float | None) -> str:
    return NONE if value is None else "<.001" if value < 0.0005 else f"{value:.3f}"
