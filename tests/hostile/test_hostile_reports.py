"""Every table, page and line about a run whose names and texts are hostile."""

from __future__ import annotations

import csv
import io
import itertools
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_hostile_run import made_hostile_run
from strategies import TRICKS, any_text, examples, names

from greaves.base.run_folder import RunFolder
from greaves.base.text import FORMULA
from greaves.leaderboards.board.table import leaderboard
from greaves.leaderboards.page.html import write_page
from greaves.leaderboards.show import latex, render

Cli = Callable[..., tuple[int, str, str]]

NAMES = [
    "\x1b[31mred\x1b]0;t\x07",
    "=cmd|'x'!A1 | **b** [l](javascript:boom()) \u202egnp",
    "<img src=x onerror=boom()>\u2028\x9b2J",
    r"}\input{x}\end{tabular}%^^5c$&",
    "-x\r\n| forged | row |\r",
]
TEXTS = [text for text in TRICKS if text]


def clean(text: str) -> None:
    """No character of it commands a terminal, or turns the order of others around."""
    assert {char for char in text if not char.isprintable()} <= {"\n"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """The worst run there is; nobody changes it."""
    return made_hostile_run(tmp_path_factory.mktemp("runs") / "run", NAMES, TEXTS)


@pytest.fixture
def run(made: RunFolder, tmp_path: Path) -> RunFolder:
    """A copy to do anything with."""
    shutil.copytree(made.path, tmp_path / "run")
    return RunFolder.open(tmp_path / "run")


hostile_runs = st.tuples(st.lists(names, min_size=5, max_size=5), st.lists(any_text, min_size=3))
numbers = itertools.count()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hostile")


# -- Markdown, CSV, LaTeX ------------------------------------------------------------------------


def cells_of(line: str) -> list[str]:
    """Cells of a row of a Markdown table, as GitHub cuts it."""
    assert line.startswith("| ")
    assert line.endswith(" |")
    return re.split(r"(?<!\\)(?:\\\\)*\|", line)[1:-1]


def check_markdown(page: str) -> None:
    clean(page)
    blocks = page.split("\n\n")
    tables = [block for block in blocks if block.startswith("| Model | Method |")]
    assert tables
    for table in tables:
        assert len({len(cells_of(line)) for line in table.split("\n")}) == 1
    assert not re.search(r"(?<!\\)(\\\\)*([<>]|\[(?![-+]?\d)|\]\()", page)
    assert all(block.startswith("# ") for block in blocks[:1])


def check_csv(text: str) -> None:
    rows = list(csv.DictReader(io.StringIO(text), strict=True))
    assert rows
    for row in rows:
        assert None not in row
        for value in row.values():
            assert value.isprintable()
            assert not value.startswith(FORMULA) or re.fullmatch(r"-?\d+(\.\d+)?", value)


_OWN = {
    *("begin", "end", "centering", "small", "setlength", "tabcolsep", "caption", "toprule"),
    *("midrule", "bottomrule", "scriptsize", "textbf", "dagger", "input"),
    *("textbackslash", "textasciitilde", "textasciicircum", "textless", "textgreater", "textbar"),
    *("textasciigrave", "usepackage"),
}


def check_latex(text: str) -> None:
    clean(text)
    preamble, _, body = text.partition("\n")
    assert preamble + "\n" == latex.PREAMBLE
    assert set(re.findall(r"\\([A-Za-z]+)", body)) <= _OWN - {"input", "usepackage"}
    assert not re.search(r"(?<!\\)(\\\\)*%", body)
    assert "^^" not in body
    assert body.isascii() or not re.search("[^\x20-\x7e\n\u00c0-\u00ff]", body)
    depth = 0
    for sign in re.findall(r"\\.|[{}]", body, re.DOTALL):
        depth += {"{": 1, "}": -1}.get(sign, 0)
        assert depth >= 0
    assert depth == 0
    assert body.count(r"\begin{") == body.count(r"\end{")


def test_tables_of_the_worst_run_hold(made: RunFolder) -> None:
    rows = leaderboard(made.verdicts(), label=made.facts().label)
    check_markdown(render.markdown(rows, notes=TEXTS, title=NAMES[4], hashes=made.facts().hashes))
    check_csv(render.as_csv(render.as_plain(rows)))
    check_latex(latex.latex(rows, title=NAMES[3]))


@given(found=hostile_runs)
@examples(12)
def test_tables_of_any_run_hold(place: Path, found: tuple[list[str], list[str]]) -> None:
    run = made_hostile_run(place / str(next(numbers)), *found)
    rows = leaderboard(run.verdicts(), label=run.facts().label)
    check_markdown(render.markdown(rows, notes=found[1], hashes=run.facts().hashes))
    check_csv(render.as_csv(render.as_plain(rows)))
    check_latex(latex.latex(rows))
    shutil.rmtree(run.path)


@given(text=any_text)
@examples(200)
def test_no_text_leaves_its_place_in_markdown_or_latex(text: str) -> None:
    cell = render.escaped(text)
    assert cell.isprintable()
    assert not re.search(r"(?<!\\)(\\\\)*[|*_`\[\]~]", cell)
    assert not {"<", ">"} & set(cell)
    literal = latex.escaped(text)
    assert literal.isprintable()
    assert set(re.findall(r"\\([A-Za-z]+)", literal)) <= _OWN
    assert not re.search(r"(?<!\\)(\\\\)*[%$&#_^~]", literal)


@pytest.mark.skipif(
    shutil.which("pdflatex") is None,
    reason="apt-get install texlive-latex-recommended",
)
def test_latex_of_the_worst_run_compiles(made: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "table.tex").write_text(latex.latex(leaderboard(made.verdicts())))
    page = (
        r"\documentclass{article}\usepackage{booktabs}\begin{document}\input{table}\end{document}"
    )
    (tmp_path / "page.tex").write_text(page)
    command = ["pdflatex", "-no-shell-escape", "-interaction=nonstopmode", "page"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=60)


# -- HTML ----------------------------------------------------------------------------------------


class Found(HTMLParser):
    """Tags, scripts and text of a page, as a parser sees them."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.inside = ""
        self.data: dict[str, str] = {}
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.inside = f"{tag} {dict(attrs).get('id', '')}" if tag in ("script", "style") else ""

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.data[self.inside] = self.data.get(self.inside, "") + data


def check_html(page: str, plain: str) -> Found:
    """`page` has the tags of `plain`, which holds no hostile text, and their handlers."""
    found, wanted = Found(page), Found(plain)
    assert [tag for tag, _ in found.tags] == [tag for tag, _ in wanted.tags]
    for (_, one), (_, other) in zip(found.tags, wanted.tags, strict=True):
        assert one.keys() == other.keys()
    scripts = [tag for tag in found.data if found.data[tag] == wanted.data.get(tag)]
    assert "script " in scripts
    for tag, text in found.data.items():
        if tag not in scripts:
            json.loads(text)
    return found


@pytest.fixture(scope="module")
def plain_page(place: Path) -> str:
    run = made_hostile_run(place / "plain", list("abcde"), ["one", "two", "three"])
    return write_page(run, place / "plain.html", clips=False).read_text()


@given(found=hostile_runs)
@examples(5)
def test_a_page_has_the_tags_of_a_plain_one(
    place: Path, plain_page: str, found: tuple[list[str], list[str]]
) -> None:
    run = made_hostile_run(place / str(next(numbers)), *found)
    page = write_page(run, place / "page.html", clips=False).read_text()
    check_html(page, plain_page)
    shutil.rmtree(run.path)


def test_a_page_of_the_worst_run_has_the_tags_of_a_plain_one(
    made: RunFolder, plain_page: str, place: Path
) -> None:
    check_html(write_page(made, place / "worst.html", clips=False).read_text(), plain_page)


@pytest.mark.parametrize("name", ["secret.ogg", "secret.txt", "pipe.ogg"])
def test_a_page_takes_in_no_file_that_is_not_sound(
    name: str, run: RunFolder, tmp_path: Path
) -> None:
    import os

    secret = tmp_path / name
    if name == "pipe.ogg":
        os.mkfifo(secret)
    else:
        secret.write_text("TOP SECRET")
    for cell in run.cells():
        changed = [
            item.model_copy(
                update={"question": item.question.model_copy(update={"clip": str(secret)})}
            )
            for item in cell.questions()
        ]
        cell.write_questions(changed)
    page = write_page(run, tmp_path / "page.html").read_text()
    assert "TOP SECRET" not in page
    assert "VE9QIFNFQ1JFV" not in page  # the same in base64


# -- the terminal --------------------------------------------------------------------------------

COMMANDS: dict[str, list[str]] = {
    "leaderboard": ["leaderboard", "RUN"],
    "leaderboard by category": ["leaderboard", "RUN", "--by", "category"],
    "page": ["page", "RUN", "--out", "TMP/p.html"],
    "judge": ["judge", "RUN", "--judge", "refusal-rules"],
    "agreement": ["agreement", "RUN"],
    "compare": ["compare", "RUN", "RUN"],
    "submit": ["submit", "RUN"],
    "submit by name": ["submit", "RUN", "--name", "x"],
    "publish": ["publish", "RUN", "--to", "TMP/site"],
    "run": ["run", "TMP/none\x1b[31m.yaml"],
    "unknown model": ["run", "TMP/small.yaml"],
    "tasks show": ["tasks", "show", "aiah-audio-text\x1b[2J", "--data", "TMP/\x1b[2J"],
    "convert": ["convert", "qwen-audio", "TMP/\x1b[2J", "TMP/new"],
    "serve": ["serve", "\x1b[2J"],
    "a command": ["\x1b[2J"],
    "an option": ["run", "--\x1b[2J"],
    "a value": ["leaderboard", "RUN", "--by", "\x1b[2J"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_no_command_lets_a_name_command_the_terminal(
    name: str, greaves: Cli, run: RunFolder, tmp_path: Path
) -> None:
    (tmp_path / "small.yaml").write_text('name: a\nmodels: ["\\e[2J"]\nmethods: ["\\e"]\n')
    places = {"RUN": str(run.path), "TMP": str(tmp_path)}
    command = [re.sub("RUN|TMP", lambda found: places[found[0]], part) for part in COMMANDS[name]]
    status, out, err = greaves(*command)
    assert status in (0, 2), err
    clean(out)
    clean(err)
    assert len(err.splitlines()) <= 40


def test_no_state_of_a_cell_commands_the_terminal(
    run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    from greaves.commands.status import status

    status(str(run.path))
    out, err = capsys.readouterr()
    assert "failed" in out
    clean(out + err)


@pytest.fixture
def files(tmp_path: Path, greaves: Cli, run: RunFolder) -> Path:
    greaves("leaderboard", run.path)
    return run.path


def test_files_of_a_leaderboard_hold(files: Path) -> None:
    check_csv((files / "leaderboard.csv").read_text())
    check_markdown((files / "leaderboard.md").read_text())
    json.loads((files / "leaderboard.json").read_text())
