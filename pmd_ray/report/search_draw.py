"""Draws the figures of a search with matplotlib (Agg), in the look of the ablation's figures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from pmd_ray.report.draw import COLOURS, INK, MARKERS, NAME_LENGTH, Drawing, cut_text, new_figure, saved_figure
from pmd_ray.report.search_fronts import Front, Incumbent
from pmd_ray.report.search_parallel import Parallel
from pmd_ray.report.search_plots import Group, Slice, Spot, WeightMap, labelled
from pmd_ray.spec.search_record import DEFAULT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

LOW, MIDDLE, HIGH = "#8fa3b5", COLOURS[0], "#d9502b"
"""Of a value, worst to best: legible on white and on black."""
COLUMNS = 3
LABEL_HEIGHT = 0.055
"""Of a name in a figure, as a share of the axis."""


def draw_incumbents(found: Sequence[Incumbent]) -> Drawing:
    """The best so far against trials and, where known, against hours."""
    with_hours = [one for one in found if one.hours]
    panels = ["trials that have ended", *(["hours spent, each stage once"] if with_hours else [])]
    legend = len(found) > 1
    with new_figure(3.7 * len(panels) + (1.6 if legend else 0.0), 3.1, "incumbent") as figure:
        axes = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
        for axis, label in zip(axes, panels, strict=True):
            for place, one in enumerate(found):
                x = one.trials if label == panels[0] else one.hours
                if x:
                    look = _look(place)
                    axis.plot(x, one.values, linestyle="none", markersize=3.5, alpha=0.45, markeredgewidth=0, **look)
                    axis.step(x, one.best, where="post", color=look["color"], linewidth=1.5, label=one.round)
            axis.set_xlabel(label)
            _plain(axis)
        axes[0].set_ylabel("validation value")
        if legend:
            _legend(figure, axes[0])
        return saved_figure(figure, "incumbent", "The best so far")


def draw_fronts(found: Sequence[Front]) -> Drawing:
    """The value against each cost, the front as a line, the default and the paper's points by name."""
    with new_figure(3.4 * len(found), 3.2, "pareto") as figure:
        for axis, one in zip(figure.subplots(1, len(found), squeeze=False, sharey=True)[0], found, strict=True):
            plain = [spot for spot in one.spots if not spot.name]
            axis.plot(*_xy(plain), "o", color=COLOURS[-1], markersize=4, alpha=0.6, markeredgewidth=0)
            axis.step(*_xy(one.front), where="post", color=COLOURS[0], linewidth=1.4)
            axis.plot(*_xy(one.front), "o", color=COLOURS[0], markersize=5, markeredgewidth=0)
            for spot in (spot for spot in one.spots if spot.name):
                marker = "D" if spot.name == DEFAULT else "^"
                axis.plot([spot.x], [spot.value], marker, color=INK, markersize=5, fillstyle="none")
            _name_spots(axis, one.spots)
            axis.set_xlabel(one.cost)
            _plain(axis)
        figure.axes[0].set_ylabel("validation value")
        return saved_figure(figure, "pareto", "Value against cost")


def draw_slices(found: Sequence[Slice]) -> Drawing:
    """The value against each parameter, one colour a round."""
    columns = min(COLUMNS, len(found))
    rows = -(-len(found) // columns)
    names = list(dict.fromkeys(group.name for one in found for group in one.groups))
    legend = len(names) > 1
    with new_figure(2.9 * columns + (1.6 if legend else 0.4), 2.5 * rows + 0.3, "slices") as figure:
        axes = figure.subplots(rows, columns, squeeze=False, sharey=True)
        for place, one in enumerate(found):
            axis = axes[place // columns][place % columns]
            for group in one.groups:
                _slice_group(axis, group, _look(names.index(group.name)))
            _slice_axis(axis, one)
        for place in range(len(found), rows * columns):
            axes[place // columns][place % columns].set_visible(False)
        for row in axes:
            row[0].set_ylabel("validation value")
        if legend:
            _legend(figure, *figure.axes)
        return saved_figure(figure, "slices", "Value against each parameter")


def draw_parallels(found: Sequence[Parallel]) -> Drawing:
    """One line a trial through all its parameters; the best in full colour."""
    widest = max(len(one.axes) for one in found)
    with new_figure(max(5.5, 1.25 * widest + 0.8), 3.0 * len(found) + 0.2, "parallel") as figure:
        for axis, one in zip(figure.subplots(len(found), 1, squeeze=False)[:, 0], found, strict=True):
            _parallel(axis, one)
        return saved_figure(figure, "parallel", "Trials in parallel coordinates")


def draw_weights(found: Sequence[WeightMap]) -> Drawing:
    """Values over alpha and beta; the best is ringed."""
    columns = min(COLUMNS, len(found))
    rows = -(-len(found) // columns)
    values = [value for one in found for _, _, value in one.spots]
    with new_figure(3.0 * columns + 0.8, 2.7 * rows + 0.3, "weights") as figure:
        axes = figure.subplots(rows, columns, squeeze=False)
        for place, one in enumerate(found):
            axis = axes[place // columns][place % columns]
            alphas, betas, told = zip(*one.spots, strict=True)
            drawn = axis.scatter(
                alphas, betas, c=told, cmap=_scale(), vmin=min(values), vmax=max(values), s=70, linewidths=0
            )
            axis.plot(alphas[-1:], betas[-1:], "o", color=INK, markersize=12, fillstyle="none", markeredgewidth=1.1)
            axis.set_title(one.title)
            axis.set_xlabel("α")
            axis.set_ylabel("β")
            _plain(axis)
            axis.grid(axis="x", color=INK, alpha=0.12, linewidth=0.5)
        for place in range(len(found), rows * columns):
            axes[place // columns][place % columns].set_visible(False)
        figure.colorbar(drawn, ax=axes, label="validation value", shrink=0.9, aspect=25).outline.set_visible(False)
        return saved_figure(figure, "weights", "Value over the loss weights")


def _parallel(axis: Axes, one: Parallel) -> None:
    colours, lowest = _scale(), min(min(line) for line in one.lines)
    for line in one.lines:
        good = line[-1]
        axis.plot(range(len(line)), line, color=colours(good), linewidth=0.8 + good, alpha=0.35 + 0.6 * good)
    for place, column in enumerate(one.axes):
        axis.plot([place, place], [0.0, 1.0], color=INK, linewidth=0.6)
        for height, text in column.ticks:
            at, shift = (place, height), (3, 2)
            axis.annotate(cut_text(text, 12), at, shift, textcoords="offset points", va="bottom", fontsize=7)
    axis.set_xticks(range(len(one.axes)), [cut_text(column.name, 18) for column in one.axes], fontsize=8)
    axis.set_yticks([])
    axis.set_ylim(lowest - 0.03, 1.1)
    axis.set_xlim(-0.15, len(one.axes) - 0.5)
    axis.tick_params(axis="x", length=0)
    axis.spines[["left", "right", "top", "bottom"]].set_visible(False)
    axis.set_title(one.round)


def _slice_group(axis: Axes, group: Group, look: dict[str, Any]) -> None:
    for inside in (True, False):
        spots = [spot for spot in group.spots if spot.inside is inside]
        style = {"fillstyle": "full", "markeredgewidth": 0} if inside else {"fillstyle": "none"}
        label = cut_text(group.name, NAME_LENGTH) if inside else None
        axis.plot(*_xy(spots), linestyle="none", markersize=4, alpha=0.75, label=label, **look, **style)


def _slice_axis(axis: Axes, one: Slice) -> None:
    if one.log:
        axis.set_xscale("log")
        axis.xaxis.set_major_formatter("{x:g}")  # the default one writes formulas, and text is text here
        axis.xaxis.set_minor_formatter("")
    if one.words:
        many = len(one.words) > 3
        axis.set_xticks(
            range(len(one.words)),
            [cut_text(word, 16) for word in one.words],
            rotation=40 if many else 0,
            ha="right" if many else "center",
            fontsize=7.5,
        )
    axis.set_title(cut_text(one.parameter, NAME_LENGTH))
    _plain(axis)
    axis.margins(x=0.08, y=0.08)


def _name_spots(axis: Axes, spots: Iterable[Spot]) -> None:
    """Names beside the points that were tried first, each on the side with more room, one below the other."""
    every = list(spots)
    chosen = labelled(every)
    low, high = axis.get_ylim()
    left, right = axis.get_xlim()
    taken: dict[bool, float] = {}
    for spot in sorted(every, key=lambda spot: -spot.value):
        if spot.trial not in chosen:
            continue
        place, is_right = (spot.value - low) / (high - low), spot.x > (left + right) / 2
        shift = min(0.0, taken.get(is_right, 2.0) - LABEL_HEIGHT - place)
        taken[is_right] = place + shift
        axis.annotate(
            cut_text(spot.name, 24),
            (spot.x, low + (place + shift) * (high - low)),
            (-7 if is_right else 7, 0),
            textcoords="offset points",
            ha="right" if is_right else "left",
            va="center",
            fontsize=7,
        )


def _xy(spots: Iterable[Spot]) -> tuple[list[float], list[float]]:
    every = list(spots)
    return [spot.x for spot in every], [spot.value for spot in every]


def _look(place: int) -> dict[str, Any]:
    return {"color": COLOURS[place % (len(COLOURS) - 1)], "marker": MARKERS[place % len(MARKERS)]}


def _scale() -> Colormap:
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("value", [LOW, MIDDLE, HIGH])


def _plain(axis: Axes) -> None:
    axis.grid(axis="y", color=INK, alpha=0.12, linewidth=0.5)
    axis.spines[["right", "top"]].set_visible(False)


def _legend(figure: Figure, *axes: Axes) -> None:
    entries = {label: mark for axis in axes for mark, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    figure.legend(
        entries.values(), entries.keys(), loc="outside right upper", frameon=False, fontsize=8.5, handlelength=1.6
    )
