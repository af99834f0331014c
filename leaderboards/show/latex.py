r"""The leaderboard as LaTeX: booktabs tables for `\input` into a paper.

Levels (ASR, ORR, HS) and NSI come as two tables, so that each fits a page's width. A cell is the
value with its interval below it.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

from greaves.leaderboards.board.row import Row
from greaves.leaderboards.show import wide
from greaves.leaderboards.show.render import printable
from greaves.leaderboards.show.wide import Column, Sheet

PREAMBLE = "% needs \\usepackage{booktabs}; \\input this file\n"

_DAGGER = r"$^{\dagger}$"
_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "`": r"\textasciigrave{}",
    wide.LIKE_BEST: _DAGGER,
    **{char: f"\\{char}" for char in "&%$#_{}"},
}
_ACCENTED = "\u00c0-\u00cf\u00d1-\u00d6\u00d9-\u00dd\u00df-\u00ef\u00f1-\u00f6\u00f9-\u00fd\u00ff"
_BEYOND_LATIN = re.compile(f"[^\x20-\x7e{_ACCENTED}]")


def latex(rows: Sequence[Row], *, title: str = "Leaderboard") -> str:
    """All tables of the leaderboard, one `table*` each, with caption."""
    said = [*wide.marks(rows), *wide.labels(rows)]
    tables = [
        _table(sheet, columns, title=title, legend=wide.legend(rows), said=said)
        for sheet in wide.sheets(rows)
        for columns in wide.levels_and_net(sheet)
    ]
    return PREAMBLE + "\n".join(tables)


def escaped(text: str) -> str:
    """Foreign text as LaTeX prints it literally; what its Latin fonts lack becomes "?"."""
    literal = "".join(
        _SPECIAL.get(char) or _BEYOND_LATIN.sub("?", char) for char in printable(text)
    )
    return literal.replace("--", "-{}-")


def _table(
    sheet: Sheet, columns: Sequence[Column], *, title: str, legend: str, said: Sequence[str]
) -> str:
    lines = [line for line in sheet.lines if line.has(columns)]
    judges = dict.fromkeys(
        line.rows[column].judge for line in lines for column in columns if column in line.rows
    )
    caption = [f"{title}.", legend, f"Judged by {', '.join(judges)}.", *said]
    head = " & ".join(["Model", "Method", *(_title(column) for column in columns)])
    body = []
    for _, group in itertools.groupby(lines, key=lambda line: line.model):
        body.append("\\midrule")
        for line in group:
            cells = line.cells(columns)
            names = [escaped(line.model), escaped(line.method)]
            body.append(" & ".join([*names, *map(_value, cells)]) + r" \\")
            body.append(" & ".join(["", "", *map(_interval, cells)]) + r" \\")
    rows = "\n".join(body)
    return rf"""\begin{{table*}}
\centering\small\setlength{{\tabcolsep}}{{4pt}}
\caption{{{escaped(" ".join(caption))}}}
\begin{{tabular}}{{ll{"r" * len(columns)}}}
\toprule
{head} \\
{rows}
\bottomrule
\end{{tabular}}
\end{{table*}}
"""


def _title(column: Column) -> str:
    """Over two lines, as "ASR" over "audio-text"."""
    first, _, second = column.title.partition(" ")
    lines = rf"{escaped(first)} \\ {escaped(second)}" if second else escaped(first)
    return rf"\begin{{tabular}}[b]{{@{{}}r@{{}}}}{lines}\end{{tabular}}"


def _value(cell: wide.Cell) -> str:
    number = cell.number if cell.number == wide.NOTHING else cell.number.replace("-", "$-$")
    return (rf"\textbf{{{number}}}" if cell.best else number) + (_DAGGER if cell.mark else "")


def _interval(cell: wide.Cell) -> str:
    text = cell.interval.replace("-", "$-$")
    return rf"{{\scriptsize {text}}}" if text else ""
