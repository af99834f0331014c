"""What the figures share: colours, type sizes, and files that are there whole or not at all."""

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
from greaves.leaderboards.show.render import rounded

Chart: TypeAlias = alt.Chart | alt.ConcatChart | alt.LayerChart | alt.FacetChart
Rows: TypeAlias = Sequence[Mapping[str, Any]]

KINDS = ("harmful", "benign")
_COLOURS = ("#e4572e", "#4c78a8")  # two of the leaderboard's; the colour-blind tell them apart
_SHAPES = ("triangle-up", "circle")
_DECIMALS = 6


def kind_colour(legend: alt.Legend | None = None) -> alt.Color:
    """Harmful and benign, always in the same colours."""
    scale = alt.Scale(domain=KINDS, range=_COLOURS)
    return alt.Color("kind:N", scale=scale, legend=legend)


def kind_shape(legend: alt.Legend | None = None) -> alt.Shape:
    """Harmful and benign by shape too, so that no reader needs the colour."""
    scale = alt.Scale(domain=KINDS, range=_SHAPES)
    return alt.Shape("kind:N", scale=scale, legend=legend)


def legend(**options: Any) -> alt.Legend:
    """A legend under the figure, without a title."""
    return alt.Legend(title=None, orient="bottom", **options)


def named(facts: Mapping[str, Any]) -> str:
    """The model in a title, with the run's label where that says more."""
    model, label = str(facts["model"]), facts["label"]
    return f"{model} ({label})" if label and label != model else model


def save_figure(chart: Chart, stem: Path, title: str, note: str = "") -> list[Path]:
    """Write a chart as PNG (twice its size) and SVG, on white. No network.

    Args:
        chart: the chart.
        stem: the files' path without the suffix.
        title: printed above it.
        note: printed under the title.

    Returns:
        The files.

    Raises:
        StoreError: a file cannot be written.
    """
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
    """Write a figure and its numbers, and say so.

    Args:
        out: the folder; `figures` in the run if unset.
        name: of the files, without a suffix.
        title: printed above the figure, with the model's name.
        note: printed under the title.
        lines: what to print beside the names of the files.
        json_only: print the facts as JSON instead.

    Raises:
        StoreError: a file cannot be written.
    """
    stem = (out or run / "figures") / name
    files = save_figure(chart, stem, f"{title}{named(facts)}", note)
    files += save_numbers(rows, facts, stem)
    if json_only:
        typer.echo(as_json(facts))
        return
    for line in [*lines, f"Written: {', '.join(map(str, files))}"]:
        typer.echo(line)


def save_numbers(rows: Rows, facts: Mapping[str, Any], stem: Path) -> list[Path]:
    """Write the numbers beside the picture: rows as CSV, facts as JSON.

    Numbers are rounded to six decimals.

    Raises:
        StoreError: a file cannot be written.
    """
    table, page = (stem.with_name(f"{stem.name}.{kind}") for kind in ("csv", "json"))
    write_text(table, csv_text(rounded(rows, _DECIMALS), list(rows[0])))
    write_text(page, as_json(facts) + "\n")
    return [table, page]


def as_json(facts: Any) -> str:
    """Facts as JSON, numbers rounded."""
    return json.dumps(rounded(facts, _DECIMALS), indent=2, ensure_ascii=False, allow_nan=False)
