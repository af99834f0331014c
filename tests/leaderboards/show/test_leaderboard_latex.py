"""The leaderboard as LaTeX: structure and escapes everywhere, a compiler where there is one."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from made_verdicts import judged, run_of

from greaves.leaderboards.board.row import Row
from greaves.leaderboards.board.table import leaderboard
from greaves.leaderboards.show.latex import escaped, latex

HOSTILE = r"50%_of $x$ & {y} #1 \input{/etc/passwd} ~^<>|`'\" -- é 漢字 Đ †"
COMPILER = shutil.which("pdflatex") or shutil.which("tectonic")


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    methods = {"vanilla": (60, 5), "rrs": (10, 5), "rrs-b": (11, 5), HOSTILE: (90, 95)}
    return leaderboard(run_of(methods), label="pocket")


def body(text: str) -> list[str]:
    """Lines of all table bodies, from the first \\midrule to the \\bottomrule."""
    parts = re.findall(r"\\midrule\n(.*?)\\bottomrule", text, flags=re.DOTALL)
    return [line for part in parts for line in part.splitlines() if line != r"\midrule"]


def test_environments_and_braces_balance(rows: list[Row]) -> None:
    text = latex(rows)
    open_now: list[str] = []
    for what, name in re.findall(r"\\(begin|end)\{(\w+\*?)\}", text):
        if what == "begin":
            open_now.append(name)
        else:
            assert open_now.pop() == name
    assert not open_now
    bare = re.sub(r"\\[{}]", "", text)
    assert bare.count("{") == bare.count("}")
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == 2  # levels, and NSI


def test_every_line_has_as_many_cells_as_columns(rows: list[Row]) -> None:
    levels, net = latex(rows).split(r"\end{table*}")[:2]
    for table, columns in ((levels, 2 + 5), (net, 2 + 4)):
        assert re.search(rf"\\begin{{tabular}}{{ll{'r' * (columns - 2)}}}", table)
        lines = body(table)
        assert lines
        assert {len(re.findall(r"(?<!\\)&", line)) for line in lines} == {columns - 1}


def test_best_is_bold_and_like_the_best_is_marked(rows: list[Row]) -> None:
    lines = body(latex(rows))
    assert next(line for line in lines if "& rrs &" in line).split(" & ")[2] == r"\textbf{10.0}"
    assert next(line for line in lines if "& rrs-b" in line).split(" & ")[2] == r"11.0$^{\dagger}$"
    assert next(line for line in lines if "& vanilla" in line).split(" & ")[2] == "60.0"


def test_foreign_names_stay_text(rows: list[Row]) -> None:
    assert escaped("a_b & 50%") == r"a\_b \& 50\%"
    assert escaped("\\input{x}") == r"\textbackslash{}input\{x\}"
    assert escaped("漢\x1b\n") == "???"
    assert r"\input{/etc" not in latex(rows)


def test_negative_numbers_carry_a_minus_sign() -> None:
    verdicts = [
        *judged("aiah-audio-text", {"q1": "a", "q2": "a"}),
        *judged("aiah-benign", {"b1": "a", "b2": "a"}),
        *judged("aiah-audio-text", {"q1": "h", "q2": "a"}, method="sft"),
        *judged("aiah-benign", {"b1": "r", "b2": "a"}, method="sft"),
    ]
    assert "$-$100.0" in latex(leaderboard(verdicts))


@pytest.mark.skipif(COMPILER is None, reason="apt-get install texlive-latex-recommended")
def test_it_compiles(rows: list[Row], tmp_path: Path) -> None:
    (tmp_path / "board.tex").write_text(latex(rows, title=f"Run {HOSTILE}"), "utf-8")
    lines = (r"\documentclass{article}", r"\usepackage{booktabs}", r"\begin{document}")
    paper = "\n".join([*lines, r"\input{board}", r"\end{document}", ""])
    (tmp_path / "paper.tex").write_text(paper)
    options = ["-interaction=nonstopmode", "-halt-on-error"] if "pdflatex" in str(COMPILER) else []
    done = subprocess.run(
        [str(COMPILER), *options, "paper.tex"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "paper.pdf").stat().st_size > 1000
