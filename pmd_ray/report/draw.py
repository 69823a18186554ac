"""Draws charts and forests with matplotlib (Agg): the same figure as SVG, as PNG and for the page.

Lines are told apart by colour and by marker. Text stays text in the SVG, and its ink is one colour, which the page
replaces by its own: figures follow light and dark.
"""

from __future__ import annotations

import html
import io
import itertools
import re
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pmd_ray.report.plots import Chart, Panel, Series

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from pmd_ray.report.forest import Forest

INK = "#1d1f21"
"""Text, axes and the baseline: black on paper, white on a dark page."""
GROUND = "#ffffff"
COLOURS = ("#2f7fc1", "#d9772b", "#2f9e6e", "#b05cc0", "#cc4b4b", "#8c7a2b", "#4aa3b5", "#9a6b4f", "#7a78d0", "#7f8a93")
"""Of middle lightness: legible on white and on black."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
STYLE: dict[Any, Any] = {
    "font.family": ["sans-serif"],
    "font.sans-serif": ["Helvetica Neue", "Helvetica", "Arial", "Liberation Sans", "DejaVu Sans"],
    "font.size": 9.0,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.titlepad": 8.0,
    "axes.linewidth": 0.6,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.unicode_minus": True,
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "svg.fonttype": "none",
    "figure.facecolor": GROUND,
    "savefig.facecolor": GROUND,
    "axes.facecolor": "none",
}
NAME_LENGTH = 34
"""Longer names are cut in a legend."""


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """One figure, drawn."""

    name: str
    title: str
    svg: bytes
    png: bytes


def draw_chart(chart: Chart) -> Drawing:
    """A chart as SVG and as PNG."""
    columns = min(2, len(chart.panels))
    rows = -(-len(chart.panels) // columns)
    legend = len(chart.panels[0].series) > 1
    width = (3.5 * columns if columns > 1 else 5.2) + (2.1 if legend else 0.0)
    with new_figure(width, rows * 2.7 + 0.45, chart.name) as figure:
        axes = figure.subplots(rows, columns, squeeze=False, sharex=True)
        for place, panel in enumerate(chart.panels):
            _panel(axes[place // columns][place % columns], chart, panel)
        for axis in axes[-1]:
            axis.set_xlabel(chart.x_label)
        if legend:
            handles, labels = axes[0][0].get_legend_handles_labels()
            figure.legend(handles, labels, loc="outside right upper", frameon=False, fontsize=8.5, handlelength=1.8)
        return saved_figure(figure, chart.name, chart.title)


def draw_forest(forest: Forest) -> Drawing:
    """A forest plot as SVG and as PNG: one line a comparison, questions one below the other."""
    heights = [len(group.rows) for group in forest.groups]
    with new_figure(7.4, 0.27 * sum(heights) + 0.75 * len(heights) + 0.35, "forest") as figure:
        ratios = {"height_ratios": [height + 1.2 for height in heights]}
        axes = figure.subplots(len(heights), 1, squeeze=False, sharex=True, gridspec_kw=ratios)
        for (axis,), group in zip(axes, forest.groups, strict=True):
            places = range(len(group.rows))
            axis.axvline(0.0, color=INK, linewidth=0.6)
            if group.margin is not None:
                axis.axvline(-group.margin, color=INK, linewidth=0.6, linestyle=(0, (4, 3)))
            for place, row in zip(places, group.rows, strict=True):
                axis.plot([row.low, row.high], [place, place], color=COLOURS[0], linewidth=1.6, solid_capstyle="butt")
                below = [place + 0.24] * len(row.seeds)
                axis.plot(row.seeds, below, "o", color=INK, markersize=3, alpha=0.45, markeredgewidth=0)
                axis.plot([row.mean], [place], "D", color=COLOURS[0], markersize=4.5, markeredgewidth=0)
            axis.set_yticks(places, [cut_text(row.label, 52) for row in group.rows])
            axis.set_ylim(len(group.rows) - 0.4, -0.6)
            axis.tick_params(axis="y", length=0)
            axis.grid(axis="x", color=INK, alpha=0.12, linewidth=0.5)
            axis.set_title(textwrap.fill(cut_text(group.title, 200), 76), fontsize=9)
            axis.spines[["left", "right", "top"]].set_visible(False)
        return saved_figure(figure, "forest", "Differences with their intervals")


def for_page(drawing: Drawing) -> str:
    """The SVG as a part of a page: its ink is the page's, its ground is clear, no two ids alike."""
    text = drawing.svg.decode()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r' id="[a-z][\w.]*_\d+"', "", text)  # names of parts: each figure has the same ones
    found = re.search(r'viewBox="0 0 ([\d.]+) [\d.]+"', text)
    width = float(found[1]) if found else 0.0
    head = f'<svg role="img" aria-label="{html.escape(drawing.title)}" style="--width:{width:.0f}pt" viewBox='
    text = re.sub(r"<svg\b.*?viewBox=", lambda _: head, text, count=1, flags=re.DOTALL)
    return text.replace(INK, "currentColor").replace(f"fill: {GROUND}", "fill: none")


def _panel(axis: Axes, chart: Chart, panel: Panel) -> None:
    step = _step(chart, len(panel.series))
    for place, (series, look) in enumerate(zip(panel.series, _looks(panel.series), strict=True)):
        shift = step * (place - (len(panel.series) - 1) / 2)
        x = [(dot.x + shift) / chart.unit for dot in series.dots]
        for at, dot in zip(x, series.dots, strict=True):
            marks = {"color": look["color"], "marker": look["marker"], "alpha": 0.4, "markeredgewidth": 0}
            axis.plot([at] * len(dot.seeds), dot.seeds, linestyle="none", markersize=3, **marks)
        axis.plot(x, [dot.mean for dot in series.dots], label=cut_text(series.name, NAME_LENGTH), markersize=5, **look)
    if chart.x_ticks:
        axis.set_xticks(chart.x_ticks, [f"{tick:g}" for tick in chart.x_ticks])
    axis.set_title(panel.title)
    axis.grid(axis="y", color=INK, alpha=0.12, linewidth=0.5)
    axis.margins(x=0.06, y=0.08)
    axis.spines[["right", "top"]].set_visible(False)


def _step(chart: Chart, series: int) -> float:
    """How far series stand apart sideways where they share values of x: all of them within two fifths of a gap."""
    if not chart.x_ticks or len(chart.x_ticks) < 2:
        return 0.0
    gap = min(after - before for before, after in itertools.pairwise(chart.x_ticks))
    return min(0.4 * gap / series, 0.012 * (chart.x_ticks[-1] - chart.x_ticks[0]))


def _looks(series: Sequence[Series]) -> Iterator[dict[str, Any]]:
    """A colour and a marker for each series; the baseline is ink, what has no teacher is dashed."""
    variants = 0
    for one in series:
        match one.look:
            case "baseline":
                yield {"color": INK, "marker": "o", "linewidth": 1.8, "zorder": 3}
            case "teacher":
                yield {"color": INK, "marker": "D", "linewidth": 0.0, "fillstyle": "none", "zorder": 4}
            case "alone":
                yield {"color": COLOURS[-1], "marker": "x", "linewidth": 1.0, "linestyle": (0, (4, 3))}
            case _:
                colour, marker = COLOURS[variants % 9], MARKERS[variants // 9 % 7 if variants >= 9 else variants % 7]
                yield {"color": colour, "marker": marker, "linewidth": 1.2}
                variants += 1


@contextmanager
def new_figure(width: float, height: float, name: str) -> Iterator[Figure]:
    """A figure in inches, drawn without a display and without the settings of whoever calls."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context({**STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        yield figure


def saved_figure(figure: Figure, name: str, title: str) -> Drawing:
    """The figure as SVG and PNG, the same bytes whenever it is drawn."""
    svg, png = io.BytesIO(), io.BytesIO()
    figure.savefig(png, format="png", dpi=160, metadata={"Software": None})
    figure.set_layout_engine("none")  # it is laid out already, and that is what takes time
    figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
    return Drawing(name=name, title=title, svg=svg.getvalue(), png=png.getvalue())


def cut_text(text: str, length: int) -> str:
    """The text, cut to a length with an ellipsis."""
    return text if len(text) <= length else f"{text[: length - 1]}…"
