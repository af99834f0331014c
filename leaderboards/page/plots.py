"""The two plots of a leaderboard, as Altair charts: ASR against ORR, and NSI with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from statistics import fmean
from typing import Any, TypeAlias

import altair as alt

from greaves.base.errors import GreavesError
from greaves.base.records import MODES, Mode
from greaves.leaderboards.board.row import Row, task_keys
from greaves.leaderboards.estimate.net import nsi_tasks

Plot: TypeAlias = alt.FacetChart
Points = list[dict[str, Any]]

_COLOURS = ("#4c78a8", "#e4572e", "#2a9d5c", "#b279a2", "#c98a00", "#17a2b8", "#d6498f", "#8c6d46")
_SHAPES = ("circle", "square", "diamond", "triangle-up", "triangle-down", "cross")
_FORMATS = (".svg", ".png")
_SIDE = 210  # pixels of one panel
_LEGEND = 4  # methods side by side


def trade_off_points(rows: Sequence[Row]) -> Points:
    """One point a method, model and harmful task that has an ORR by the same judge.

    Returns:
        Points with `panel` (the mode, and what else sets panels apart), `asr`, `orr` and their
        intervals in percent, and `pareto`: no method of the panel is better in one and as good in
        the other.
    """
    points = []
    for row in _known(rows, "asr"):
        harmful, benign = _nsi_tasks(rows, row.judge)
        for other in _known(rows, "orr"):
            same = (row.model, row.method, row.judge) == (other.model, other.method, other.judge)
            if same and other.task == benign:
                name = row.mode if row.mode and harmful.get(row.mode) == row.task else row.task
                points.append(_coordinates(row, rows, str(name)) | _ends(row) | _ends(other))
    for point in points:
        rivals = [one for one in points if one["panel"] == point["panel"]]
        point["pareto"] = not any(_dominates(one, point) for one in rivals)
    return points


def nsi_points(rows: Sequence[Row]) -> Points:
    """One point a method, model and mode, and one for Avg. NSI; `value` and ends."""
    points = []
    for metric in ("nsi", "avg_nsi"):
        for row in _known(rows, metric):
            harmful, _ = _nsi_tasks(rows, row.judge)
            known = row.mode and harmful.get(row.mode) == row.task
            name = "Avg. NSI" if row.task is None else f"NSI {row.mode if known else row.task}"
            ends = {"value": row.value, "low": row.low, "high": row.high}
            points.append(_coordinates(row, rows, name) | ends)
    return points


def trade_off_plot(rows: Sequence[Row]) -> Plot | None:
    """ASR against ORR, one panel a mode: crosses are 95 % intervals, the line is the Pareto front.

    Returns:
        The chart, or None if no method has both an ASR and an ORR.
    """
    points = trade_off_points(rows)
    if not points:
        return None
    colour, shape = _by_method(rows, shown={point["method"] for point in points})
    x, y = (
        axis.scale(zero=True).axis(tickCount=5, labelFlush=False)
        for axis in (
            alt.X("orr:Q").title("ORR, % (lower is better)"),
            alt.Y("asr:Q").title("ASR, % (lower is better)"),
        )
    )
    base = alt.Chart()
    front = (
        base.transform_filter(alt.datum.pareto)
        .mark_line(interpolate="step-after", strokeDash=[4, 3], color="#888888", strokeWidth=1.5)
        .encode(x=x, y=y, order=alt.Order("orr:Q"))
    )
    across = base.mark_rule(strokeWidth=1.5).encode(
        x=alt.X("orr_low:Q"), x2="orr_high:Q", y=y, color=colour
    )
    up = base.mark_rule(strokeWidth=1.5).encode(
        x=x, y=alt.Y("asr_low:Q"), y2="asr_high:Q", color=colour
    )
    dots = base.mark_point(filled=True, size=70, opacity=1).encode(
        x=x, y=y, color=colour, shape=shape, tooltip=_tooltip("orr", "asr")
    )
    return _faceted([front, across, up, dots], points, len(MODES), _SIDE)


def nsi_plot(rows: Sequence[Row]) -> Plot | None:
    """NSI of every method with its 95 % interval; the line marks no improvement over vanilla.

    Returns:
        The chart, or None if no method has an NSI.
    """
    points = nsi_points(rows)
    if not points:
        return None
    colour, shape = _by_method(rows)
    y = alt.Y("method:N").title(None).sort(_best_first(points))
    base = alt.Chart()
    zero = base.mark_rule(color="#888888", strokeDash=[4, 3]).encode(x=alt.datum(0))
    spans = base.mark_rule(strokeWidth=1.5).encode(
        x=alt.X("low:Q").title("points (higher is better)"), x2="high:Q", y=y, color=colour
    )
    dots = base.mark_point(filled=True, size=70, opacity=1).encode(
        x=alt.X("value:Q"), y=y, color=colour, shape=shape, tooltip=_tooltip("value")
    )
    return _faceted([zero, spans, dots], points, len(MODES) + 1, alt.Step(22))


def write_plot(chart: Plot | None, *targets: Path) -> None:
    """Write a chart, each target in the format that its suffix tells: .svg or .png. No network.

    Raises:
        GreavesError: there is no chart, or a suffix is of another format.
    """
    for target in targets:
        if target.suffix not in _FORMATS:
            what = "a plot is written as .svg or .png"
            raise GreavesError(what, where=str(target), do="change the suffix")
        if chart is None:
            do = "run a harmful and a benign task with one judge"
            raise GreavesError("no method has the numbers of this plot", where=str(target), do=do)
        target.parent.mkdir(parents=True, exist_ok=True)
        chart.properties(background="white").save(str(target), scale_factor=2, engine="vl-convert")


def _faceted(layers: list[alt.Chart], points: Points, columns: int, height: int | alt.Step) -> Plot:
    panels = list(dict.fromkeys(point["panel"] for point in points))
    layered = alt.layer(*layers).properties(width=_SIDE, height=height)
    facet = alt.Facet("panel:N").title(None).sort(panels)
    whole: Plot = (
        layered.facet(facet=facet, columns=columns, data=alt.InlineData(values=points))
        .resolve_scale(color="shared", shape="shared")
        .configure_axis(
            labelFontSize=11, titleFontSize=12, titleFontWeight="normal", labelLimit=200
        )
        .configure_header(labelFontSize=13, labelFontWeight="bold")
        .configure_legend(
            orient="bottom",
            columns=_LEGEND,
            labelFontSize=12,
            labelLimit=_SIDE,
            symbolOpacity=1,
            symbolSize=90,
            title=None,
        )
    )
    return whole


def _by_method(
    rows: Sequence[Row], *, shown: Set[str] = frozenset()
) -> tuple[alt.Color, alt.Shape]:
    """Colour and shape both tell the method, so that neither alone is needed to read the plot.

    Args:
        rows: those of all plots of a page, so that a method looks the same in each.
        shown: methods in the legend; without any there is none.
    """
    methods = list(dict.fromkeys(row.method for row in rows))
    named = [method for method in methods if method in shown]
    legend = alt.Legend(values=named) if named else None
    colours, shapes = (
        alt.Scale(domain=methods, range=[each[place % len(each)] for place in range(len(methods))])
        for each in (_COLOURS, _SHAPES)
    )
    shape = alt.Shape("method:N", legend=legend, scale=shapes)
    return alt.Color("method:N", legend=legend, scale=colours), shape


def _best_first(points: Points) -> list[str]:
    """Methods by their mean over all panels."""
    values: dict[str, list[float]] = {}
    for point in points:
        values.setdefault(point["method"], []).append(point["value"])
    return sorted(values, key=lambda method: -fmean(values[method]))


def _tooltip(*fields: str) -> list[alt.Tooltip]:
    names = [alt.Tooltip("model:N"), alt.Tooltip("method:N")]
    if fields == ("value",):
        value = alt.Tooltip("value:Q", format=".1f", title="VALUE")
        return [*names, value, *(alt.Tooltip(f"{end}:Q", format=".1f") for end in ("low", "high"))]
    ends = [(field, end) for field in fields for end in ("", "_low", "_high")]
    titles = {f"{field}{end}:Q": f"{field.upper()}{end.replace('_', ' ')}" for field, end in ends}
    return names + [alt.Tooltip(of, format=".1f", title=title) for of, title in titles.items()]


def _coordinates(row: Row, rows: Sequence[Row], name: str) -> dict[str, Any]:
    """Names of a point; its panel tells model and judge only where there are several."""
    models = {one.model for one in rows}
    judges = {one.judge for one in rows if one.metric == row.metric}
    several = [row.model] * (len(models) > 1) + [row.judge] * (len(judges) > 1)
    names = {"model": row.model, "method": row.method, "task": row.task, "judge": row.judge}
    return {"panel": ", ".join([name, *several]), **names}


def _ends(row: Row) -> dict[str, float | None]:
    return {row.metric: row.value, f"{row.metric}_low": row.low, f"{row.metric}_high": row.high}


def _dominates(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether `one` is at least as good in both and better in one."""
    mine, theirs = (one["asr"], one["orr"]), (other["asr"], other["orr"])
    return bool(mine[0] <= theirs[0] and mine[1] <= theirs[1] and mine != theirs)


def _known(rows: Sequence[Row], metric: str) -> list[Row]:
    return [row for row in rows if row.metric == metric and row.value is not None]


def _nsi_tasks(rows: Sequence[Row], judge: str) -> tuple[Mapping[Mode, str], str | None]:
    return nsi_tasks(task_keys(row for row in rows if row.judge == judge))
