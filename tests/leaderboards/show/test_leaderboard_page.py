"""The same rows as Markdown, CSV, JSON and terminal text."""

from __future__ import annotations

import csv
import io
import json
import re

import pytest
from made_verdicts import judged, run_of
from rich.console import Console

from greaves.leaderboards.board.row import Row
from greaves.leaderboards.board.table import leaderboard
from greaves.leaderboards.show import terminal
from greaves.leaderboards.show.render import as_csv, as_json, as_plain, markdown

POCKET = "shows that the machinery works and that methods differ, not what they do to a 7B model"


@pytest.fixture
def rows() -> list[Row]:
    verdicts = run_of({"sft": (30, 60), "vanilla": (60, 5), "rrs": (10, 10)})
    return leaderboard([*verdicts, *run_of({"rrs": (20, 10)}, seed=1)], label="pocket")


def table_of(page: str) -> list[list[str]]:
    """Cells of the first Markdown table's lines, header first."""
    first = next(part for part in page.split("\n\n") if part.startswith("|"))
    lines = first.splitlines()
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def shown(rows: list[Row], *, width: int = 120, is_terminal: bool = False) -> str:
    out = io.StringIO()
    terminal.show(rows, Console(file=out, width=width, force_terminal=is_terminal))
    return out.getvalue()


def test_markdown_has_one_line_a_method_and_the_columns_in_order(rows: list[Row]) -> None:
    head, _, *body = table_of(markdown(rows))
    assert head == [
        *("Model", "Method", "ASR audio-text", "ASR text-only", "ASR audio-only", "ORR"),
        *("NSI audio-text", "NSI text-only", "NSI audio-only", "Avg. NSI", "HS"),
    ]
    assert [line[1] for line in body] == ["vanilla", "rrs", "sft"]  # then best Avg. NSI first
    assert {line[0] for line in body} == {"qwen2-audio"}


def test_markdown_cells_are_value_and_interval(rows: list[Row]) -> None:
    _, _, vanilla, rrs, _ = table_of(markdown(rows))
    row = next(row for row in rows if (row.method, row.metric) == ("rrs", "avg_nsi"))
    assert row.low is not None
    assert row.high is not None
    assert rrs[9] == f"**40.0** [{row.low:.1f}, {row.high:.1f}]"  # (60 - 15) - (10 - 5)
    assert vanilla[6:10] == ["-"] * 4
    assert vanilla[10].startswith("**7.25** [7.0")  # as good as the others


def test_markdown_tells_judge_counts_label_seeds_notes_and_hashes(rows: list[Row]) -> None:
    page = markdown(rows, notes=["q7 is missing"], hashes={"recipe": "abc123"})
    assert "ASR audio-text: judge rules@1; 20 questions, 100 to 200 responses, 0 unscored" in page
    assert "HS: judge chat-llm@2; 2 questions" in page
    assert POCKET in page
    assert "Avg. NSI of rrs on qwen2-audio: seed 0: 45.0, seed 1: 35.0" in page
    assert "- q7 is missing" in page
    assert "- recipe: abc123" in page


def test_best_and_like_the_best_are_marked_alike_everywhere() -> None:
    rows = leaderboard(run_of({"vanilla": (60, 5), "rrs": (10, 5), "rrs-b": (11, 5)}))
    asr = {row.method: row for row in rows if row.task == "aiah-text-only" and row.metric == "asr"}
    assert asr["rrs-b"].distinguishable_from_best is False
    assert asr["vanilla"].distinguishable_from_best is True
    cells = {line[1]: line[3] for line in table_of(markdown(rows))[2:]}
    assert cells["rrs"].startswith("**10.0** [")
    assert cells["rrs-b"].startswith("11.0\N{DAGGER} [")
    assert cells["vanilla"].startswith("60.0 [")
    text = shown(rows)
    assert "11.0\N{DAGGER}" in text
    assert "10.0\N{DAGGER}" not in text
    assert "not distinguishable from the best" in text
    assert re.search(r"\x1b\[1m *10\.0", shown(rows, is_terminal=True))


def test_ranks_and_asr_any_stand_in_a_second_table() -> None:
    page = markdown(leaderboard(run_of({"vanilla": (60, 5), "rrs": (10, 5), "rrs-b": (11, 5)})))
    assert "| Rank by Avg. NSI | ASR-any audio-text |" in page
    assert "| qwen2-audio | rrs-b | 2 [1, 2] | 15.0 [" in page  # 11 responses: questions 1 to 3


def test_spread_over_seeds_is_told_beside_the_interval(rows: list[Row]) -> None:
    page = markdown(rows)
    row = next(row for row in rows if (row.method, row.metric) == ("rrs", "avg_nsi"))
    told = f"standard deviation over seeds 7.1, interval \\[{row.low:.1f}, {row.high:.1f}\\]"
    assert f"seed 0: 45.0, seed 1: 35.0; {told}" in page


def test_only_pocket_runs_carry_the_pocket_line() -> None:
    page = markdown(leaderboard(judged("aiah-benign", {"b": "ra"}), label="reconstructed"))
    assert "reconstructed" in page
    assert POCKET not in page


def test_two_judges_of_one_task_get_a_table_each() -> None:
    verdicts = [
        *judged("aiah-benign", {"b": "ra"}, judge="one@1"),
        *judged("aiah-benign", {"b": "rr"}, judge="two@1"),
    ]
    page = markdown(leaderboard(verdicts))
    assert page.count("| Model | Method | ORR |") == 2


def test_a_further_task_is_called_by_its_name() -> None:
    verdicts = [
        *judged("noisy-audio-text", {"q": "ha"}),
        *judged("aiah-audio-text", {"q": "ha"}),
    ]
    head = table_of(markdown(leaderboard(verdicts)))[0]
    assert head[2:] == ["ASR audio-text", "ASR noisy-audio-text"]


def test_csv_and_json_hold_the_same_rows(rows: list[Row]) -> None:
    from_json = json.loads(as_json(as_plain(rows)))
    from_csv = list(csv.DictReader(io.StringIO(as_csv(as_plain(rows)))))
    assert len(from_json) == len(from_csv) == len(rows)
    for row, plain, line in zip(rows, from_json, from_csv, strict=True):
        assert plain["value"] == round(row.value or 0.0, 4) == float(line["value"])
        assert json.loads(line["per_seed"]) == plain["per_seed"]
        assert set(plain) == set(line) == set(Row.model_fields)


def test_no_value_is_null_in_json_and_empty_in_csv() -> None:
    rows = leaderboard(judged("aiah-benign", {"b": "??"}))
    assert json.loads(as_json(as_plain(rows)))[0]["value"] is None
    assert "NaN" not in as_json(as_plain(rows))
    assert next(csv.DictReader(io.StringIO(as_csv(as_plain(rows)))))["value"] == ""
    assert table_of(markdown(rows))[2][2] == "-"


@pytest.mark.parametrize("width", [100, 120])
def test_terminal_table_fits_and_shows_every_number(rows: list[Row], width: int) -> None:
    text = shown(rows, width=width)
    said = ("judge", "[low", "Bold: ", "seed 0: ", POCKET)
    table = [line for line in text.splitlines() if not any(words in line for words in said)]
    assert max(len(line.rstrip()) for line in table) <= width
    for row in rows:
        assert row.low is not None
        assert row.high is not None
        digits = 2 if row.metric == "hs" else 1
        assert f"[{row.low:z.{digits}f}, {row.high:z.{digits}f}]" in text
    assert POCKET in text


def test_terminal_table_is_plain_when_piped_and_styled_on_a_terminal(rows: list[Row]) -> None:
    assert "\x1b[" not in shown(rows)
    assert "\x1b[" in shown(rows, is_terminal=True)


def test_foreign_names_cannot_break_a_table_or_the_terminal() -> None:
    name = "[red]x[/red] | <b>y</b> \x1b[31m\nz"
    rows = leaderboard(judged("aiah-benign", {"b": "ra"}, method=name))
    page = markdown(rows)
    assert len({line.replace("\\|", "").count("|") for line in page.splitlines() if "|" in line})
    body = [line for line in page.splitlines() if line.startswith("|")][2:]
    assert len(body) == 1
    assert "\\|" in body[0]
    assert "<b>" not in body[0]
    assert "\x1b" not in page + shown(rows)
    assert "[red]x[/red]" in shown(rows)
