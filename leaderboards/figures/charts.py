"""The figures as Altair charts, and as files that are there whole or not at all."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import altair as alt
import typer

from greaves.base.store import write_bytes, write_text
from greaves.base.text import csv_text
from greaves.leaderboards.read.slices import VANILLA
from greaves.leaderboards.show.render import rounded

Chart: TypeAlias = alt.Chart | alt.ConcatChart | alt.LayerChart | alt.FacetChart
Rows: TypeAlias = Sequence[Mapping[str, Any]]

KINDS = ("harmful", "benign")
_COLOURS = ("#e4572e", "#4c78a8")  # two of the leaderboard's; the colour-blind tell them apart
_SHAPES = ("triangle-up", "circle")
_DECIMALS = 6

_FATES = ("fine-tuned on", "left", "filtered out")
_FATE_COLOURS = ("#e4572e", "#4c78a8", "#b0b0b0")
_BINS = 30
_SIDE = 200  # pixels of one panel
_AFTER = "with the method"
_COLUMNS = {"gap": ("scaled", "scaled_low", "scaled_high"), "raw": ("projection", "low", "high")}
_Y_TITLES = {
    "gap": ["mean projection", "(vanilla: benign 0, harmful 1)"],
    "raw": ["mean projection", "(length in hidden space)"],
}


def kind_colour(legend: alt.Legend) -> alt.Color:
    """Harmful and benign, always in the same colours."""
    return alt.Color("kind:N", scale=alt.Scale(domain=KINDS, range=_COLOURS), legend=legend)


def kind_shape(legend: alt.Legend) -> alt.Shape:
    """Harmful and benign by shape too, so that no reader needs the colour."""
    return alt.Shape("kind:N", scale=alt.Scale(domain=KINDS, range=_SHAPES), legend=legend)


def legend(**options: Any) -> alt.Legend:
    """A legend under the figure, without a title."""
    return alt.Legend(title=None, orient="bottom", **options)


def finish(
    chart: Chart,
    rows: Rows,
    facts: Mapping[str, Any],
    *,
    run: Path,
    out: Path | None,
    name: str,
    title: str,
    note: str = "",
    lines: Iterable[str] = (),
    json_only: bool = False,
) -> None:
    """Write a figure (PNG, SVG) and its numbers (rows as CSV, facts as JSON), and say so.

    Numbers are rounded to six decimals.

    Args:
        out: the folder; `figures` in the run if unset.
        title, note: printed above the figure; the title with the model's name.
        lines: what to print beside the names of the files; nothing if `json_only`.

    Raises:
        StoreError: a file cannot be written.
    """
    stem, model, label = (out or run / "figures") / name, facts["model"], facts["label"]
    shown = f"{model} ({label})" if label and label != model else model
    table, page = (stem.with_name(f"{name}.{kind}") for kind in ("csv", "json"))
    files = [*_saved(chart, stem, f"{title}{shown}", note), table, page]
    write_text(table, csv_text(rounded(rows, _DECIMALS), list(rows[0])))
    plain = rounded(facts, _DECIMALS)
    said = json.dumps(plain, indent=2, ensure_ascii=False, allow_nan=False)
    write_text(page, said + "\n")
    if json_only:
        typer.echo(said)
        return
    for line in [*lines, f"Written: {', '.join(map(str, files))}"]:
        typer.echo(line)


def _saved(chart: Chart, stem: Path, title: str, note: str) -> list[Path]:
    """Writes a chart as PNG (twice its size) and SVG, on white. No network."""
    whole = (
        chart.properties(
            title=alt.Title(title, subtitle=note, anchor="start", fontSize=14, offset=14),
            background="white",
        )
        .configure_axis(labelFontSize=11, titleFontSize=12, titleFontWeight="normal")
        .configure_header(labelFontSize=13, labelFontWeight="bold", titleFontSize=13)
        .configure_title(fontSize=12, lineHeight=15, fontWeight="bold", subtitleFontSize=11)
        .configure_legend(labelFontSize=12, symbolSize=90, symbolOpacity=1, labelLimit=300)
    )
    files = []
    for kind in ("png", "svg"):
        buffer: Any = io.BytesIO() if kind == "png" else io.StringIO()
        whole.save(buffer, format=kind, scale_factor=2, engine="vl-convert")
        path = stem.with_name(f"{stem.name}.{kind}")
        content = buffer.getvalue()
        write_bytes(path, content if isinstance(content, bytes) else content.encode())
        files.append(path)
    return files


def state_lines(state: dict[str, Any]) -> list[str]:
    """What stands above a panel."""
    return [
        f"ASR {_percent(state['asr'])}, ORR {_percent(state['orr'])}",
        f"probe AUC {state['auc']:.3f}, silhouette {state['silhouette']:.2f}",
    ]


def _percent(rate: dict[str, float] | None) -> str:
    return "not judged" if rate is None else f"{rate['value']:.1f} %"


def representations(rows: Rows, facts: dict[str, Any]) -> alt.ConcatChart:
    """t-SNE above PCA, one column a state. PCA's axes are the same in all columns."""
    share_1, share_2 = (100 * share for share in facts["pca_variance"])
    across = alt.X("pca_1:Q").title(f"component 1 ({share_1:.0f} % of variance)")
    up = alt.Y("pca_2:Q").title(f"component 2 ({share_2:.0f} %)")
    t_sne: list[alt.Chart] = []
    pca: list[alt.Chart] = []
    for state in facts["states"]:
        own = [row for row in rows if row["state"] == state["state"]]
        data = alt.InlineData(values=[dict(row) for row in own])
        x = alt.X("tsne_1:Q").axis(None).scale(_frame(own, "tsne_1"))
        y = alt.Y("tsne_2:Q").axis(None).scale(_frame(own, "tsne_2"))
        heading = alt.Title(state["state"], subtitle=state_lines(state), subtitlePadding=4)
        t_sne.append(_points(data, x, y).properties(title=heading))
        x, y = across.scale(_frame(rows, "pca_1")), up.scale(_frame(rows, "pca_2"))
        pca.append(_points(data, x, y))
        up = up.title(None)
    return alt.concat(*t_sne, *pca, columns=len(t_sne))


def _points(data: alt.InlineData, x: alt.X, y: alt.Y) -> alt.Chart:
    view = alt.ViewBackground(stroke="#cccccc")
    chart = alt.Chart(data, width=_SIDE, height=_SIDE, view=view)
    points: alt.Chart = chart.mark_point(filled=True, size=26, opacity=0.65)
    return points.encode(x=x, y=y, color=kind_colour(legend()), shape=kind_shape(legend()))


def _frame(rows: Rows, axis: str) -> alt.Scale:
    """All values of an axis, with a margin."""
    low, high = (end(row[axis] for row in rows) for end in (min, max))
    margin = 0.05 * (high - low) or 1.0
    return alt.Scale(domain=[low - margin, high + margin], nice=False)


def noisy_layers(facts: dict[str, Any], direction: str) -> list[int]:
    """Layers whose direction is noise: on held-out questions less than half of vanilla's gap is
    left."""
    (held_out,) = (
        one["gap"] for one in facts["apart"] if (one["method"], one["mode"]) == (VANILLA, direction)
    )
    pairs = zip(held_out, facts["direction"]["gap"], strict=True)
    return [layer for layer, (left, gap) in enumerate(pairs, start=1) if left < gap / 2]


def refusal_direction(rows: Rows, scale: str, blind: list[int]) -> alt.ConcatChart:
    """One line of panels a method, one column a mode; vanilla is dashed in each of them."""
    mean, low, high = _COLUMNS[scale]
    modes = list(dict.fromkeys(row["mode"] for row in rows))
    methods = list(dict.fromkeys(row["method"] for row in rows))
    clear = [row for row in rows if row["layer"] not in blind] or rows
    ends = [row[name] for row in clear for name in (low, high)]
    margin = 0.04 * (max(ends) - min(ends))
    frame = alt.Scale(domain=[min(ends) - margin, max(ends) + margin], nice=False)
    panels = []
    for method in [name for name in methods if name != VANILLA] or methods:
        title: list[str] | None = _Y_TITLES[scale]
        for mode in modes:
            shown = [
                {
                    **{"kind": row["kind"], "layer": row["layer"]},
                    "state": VANILLA if row["method"] == VANILLA else _AFTER,
                    **{"mean": row[mean], "low": row[low], "high": row[high]},
                }
                for row in rows
                if row["mode"] == mode and row["method"] in (VANILLA, method)
            ]
            panel = _lines_of(shown, frame, title, blind)
            panels.append(panel.properties(title=f"{method}: {mode}"))
            title = None
    return alt.concat(*panels, columns=len(modes))


def _lines_of(
    rows: list[dict[str, Any]], frame: alt.Scale, y_title: list[str] | None, blind: list[int]
) -> alt.LayerChart:
    last = max(row["layer"] for row in rows)
    layers = alt.Scale(domain=[0.5, last + 0.5], nice=False)
    axis = alt.Axis(tickMinStep=1, format="d", grid=False)
    x = alt.X("layer:Q", title="decoder layer", scale=layers, axis=axis)
    states = alt.Scale(domain=[VANILLA, _AFTER], range=[[5, 4], [1, 0]])
    colour = kind_colour(legend(symbolType="stroke", symbolStrokeWidth=3))
    dashes = legend(symbolType="stroke", symbolStrokeWidth=2)
    base = alt.Chart(alt.InlineData(values=rows), width=300, height=190)
    low = alt.Y("low:Q").title(y_title).scale(frame)
    band = base.mark_area(opacity=0.18, clip=True).encode(
        x=x, y=low, y2="high:Q", color=colour, detail="state:N"
    )
    mean = alt.Y("mean:Q").title(y_title).scale(frame)
    dash = alt.StrokeDash("state:N", scale=states, legend=dashes)
    line = base.mark_line(strokeWidth=2, clip=True).encode(
        x=x, y=mean, color=colour, strokeDash=dash
    )
    dots = base.mark_point(filled=True, size=18, opacity=1, clip=True).encode(
        x=x, y=mean, color=colour
    )
    noise = (
        alt.Chart(alt.InlineData(values=[{"from": each - 0.5, "to": each + 0.5} for each in blind]))
        .mark_rect(color="#e6e6e6")
        .encode(x=alt.X("from:Q", scale=layers, title="decoder layer", axis=axis), x2="to:Q")
    )
    return alt.LayerChart(layer=[*([noise] if blind else []), band, line, dots])


def proximity_rows(number: int, selection: dict[str, Any]) -> list[dict[str, Any]]:
    """One row a question and axis."""
    return [
        {
            "selection": number,
            "methods": " ".join(selection["cells"]),
            "axis": axis,
            "encoder": encoder,
            "id": item["id"],
            "distance": item[axis],
            "fate": _FATES[0] if item["taken"] else _FATES[1] if item["kept"] else _FATES[2],
        }
        for axis, encoder in selection["encoders"].items()
        for item in selection["items"]
    ]


def proximity(rows: Rows, selections: list[dict[str, Any]]) -> alt.ConcatChart:
    """One panel a selection and axis; panels of one axis and encoder share their scale."""
    panels = []
    for number, selection in enumerate(selections):
        for axis, encoder in selection["encoders"].items():
            own = [row for row in rows if (row["selection"], row["axis"]) == (number, axis)]
            alike = [
                row["distance"] for row in rows if (row["axis"], row["encoder"]) == (axis, encoder)
            ]
            bars = _bars(own, min(alike), max(alike), f"{axis} distance ({encoder})")
            panels.append(bars.properties(title=_heading(selection)))
    return alt.concat(*panels, columns=2)


def _heading(selection: dict[str, Any]) -> alt.Title:
    names = selection["cells"]
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    chosen = f"{selection['side']} {100 * selection['fraction']:g} %, {selection['axis']} axis"
    return alt.Title(chosen, subtitle=shown)


def _bars(rows: Rows, low: float, high: float, title: str) -> alt.Chart:
    span = high - low or 1.0
    ends = alt.Bin(extent=[low, low + span], step=span / _BINS)
    colour = alt.Color(
        "fate:N", scale=alt.Scale(domain=_FATES, range=_FATE_COLOURS), sort=_FATES, legend=legend()
    )
    data = alt.InlineData(values=[{"d": row["distance"], "fate": row["fate"]} for row in rows])
    x, y = alt.X("d:Q", bin=ends, title=title), alt.Y("count():Q", title="benign questions")
    bars: alt.Chart = alt.Chart(data, width=340, height=150).mark_bar(binSpacing=1)
    return bars.encode(x=x, y=y, color=colour)
