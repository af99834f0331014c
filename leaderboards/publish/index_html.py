"""The site's own pages: plain HTML with its style inside; no script, nothing fetched."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from greaves.leaderboards.board.row import Row
from greaves.leaderboards.publish import reproduce
from greaves.leaderboards.show import wide
from greaves.leaderboards.submission.contents import Submission

_STYLE = """
:root { color-scheme: light dark; --line: #8886; --soft: #8881; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 0 auto; padding: 1rem; }
h1, h2, h3 { line-height: 1.2; }
article { border-top: 1px solid var(--line); margin-top: 2rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--line); text-align: right; }
th[scope=row], th:first-child, th:nth-child(2) { text-align: left; }
td small { display: block; opacity: .75; white-space: nowrap; }
pre { background: var(--soft); padding: .8rem; overflow-x: auto; }
.label { border-left: .3rem solid #c80; padding-left: .6rem; }
code { overflow-wrap: anywhere; }
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


@dataclass(frozen=True)
class Published:
    """One run of a site.

    Attributes:
        folder: of its files, relative to the index.
        submission: what was packed.
        rows: its leaderboard.
        notes: what a reader must be told beside it.
        authors: for the citation.
    """

    folder: str
    submission: Submission
    rows: Sequence[Row]
    notes: Sequence[str]
    authors: Sequence[str]


def index_page(runs: Sequence[Published]) -> str:
    """The index of a site: every run with its table, downloads, citation and commands."""
    body = "".join(_article(run) for run in runs)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Leaderboards of audio language models</title>\n<style>{_STYLE}</style>\n"
        "</head>\n<body>\n<main>\n<h1>Leaderboards of audio language models</h1>\n"
        f"<p>{escape(wide.LEGEND)}</p>\n{body}</main>\n</body>\n</html>\n"
    )


def _article(run: Published) -> str:
    manifest = run.submission.manifest
    name = escape(manifest.name)
    parts = [f'<article id="{name}">', f"<h2>{name}</h2>"]
    parts += [f'<p class="label">{escape(line)}</p>' for line in wide.labels(run.rows)]
    parts.append(
        f'<p><a href="{run.folder}/index.html">Plots and transcripts</a> '
        "(transcripts hold harmful requests and may hold harmful answers)</p>"
    )
    parts += [f"<p>{escape(line)}</p>" for line in wide.marks(run.rows)]
    for sheet in wide.sheets(run.rows):
        parts += [_table(sheet), _list(map(escape, wide.foot(sheet)))]
    parts += [_section("Notes", _list(map(escape, run.notes)))] if run.notes else []
    parts.append(_section("Downloads", _downloads(run)))
    parts.append(_section("Reproduce", _reproduce(run)))
    parts.append(
        _section("Cite", f"<pre>{escape(reproduce.bibtex(run.submission, run.authors))}</pre>")
    )
    return "\n".join([*parts, "</article>\n"])


def _table(sheet: wide.Sheet) -> str:
    heads = "".join(
        f'<th scope="col">{escape(text)}</th>'
        for text in ("Model", "Method", *(column.title for column in sheet.columns))
    )
    lines = "".join(
        f'<tr><th scope="row">{escape(line.model)}</th><th scope="row">{escape(line.method)}</th>'
        + "".join(_cell(line.rows.get(column)) for column in sheet.columns)
        + "</tr>\n"
        for line in sheet.lines
    )
    return (
        f'<div class="scroll" tabindex="0">\n<table>\n<thead><tr>{heads}</tr></thead>\n'
        f"<tbody>\n{lines}</tbody>\n</table>\n</div>"
    )


def _cell(row: Row | None) -> str:
    if row is None:
        return f"<td>{wide.NOTHING}</td>"
    number = escape(wide.number(row))
    if wide.is_best(row):
        number = f"<strong>{number}</strong>"
    elif wide.is_like_best(row):
        number += wide.LIKE_BEST
    return f"<td>{number}<small>{escape(wide.interval(row))}</small></td>"


def _downloads(run: Published) -> str:
    name = run.submission.manifest.name
    files = {
        f"submission-{name}.zip": (
            "records, recipe, hashes and versions; every number can be computed again from it"
        ),
        "leaderboard.md": "the table as Markdown",
        "leaderboard.csv": "the rows as CSV",
        "leaderboard.json": "the rows as JSON",
        "recipe.yaml": "what was run",
        "versions.txt": "package versions, for pip",
        "CITATION.cff": "citation",
    }
    links = _list(
        f'<a href="{run.folder}/{file}" download>{file}</a>: {words}'
        for file, words in files.items()
    )
    return f"{links}\n<p>SHA-256 of the submission: <code>{run.submission.sha256}</code></p>"


def _reproduce(run: Published) -> str:
    manifest = run.submission.manifest
    machine = manifest.hardware
    versions = ", ".join(f"{name} {value}" for name, value in manifest.versions.items())
    gpus = f", {', '.join(machine.gpus)}" if machine.gpus else ", no GPU"
    facts = [
        f"Versions: {versions}",
        f"Run on: {machine.cpu}, {machine.cores} cores, {machine.ram_gib} GiB{gpus}",
        *reproduce.caveats(manifest),
    ]
    hashes = _list(
        f"{escape(name)}: <code>{escape(value)}</code>" for name, value in manifest.hashes.items()
    )
    folder = "the current folder" if manifest.git is None else "a clone of Greaves"
    commands = escape("\n".join(reproduce.commands(manifest)))
    return (
        f"<p>With the downloads above in {folder}:</p>\n<pre>{commands}</pre>\n"
        f"{_list(map(escape, facts))}\n<details><summary>Hashes of what was run</summary>{hashes}"
        "</details>"
    )


def _section(title: str, content: str) -> str:
    return f"<section>\n<h3>{title}</h3>\n{content}\n</section>"


def _list(lines: Iterable[str]) -> str:
    return "<ul>\n" + "".join(f"<li>{line}</li>\n" for line in lines) + "</ul>"
