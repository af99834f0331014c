"""Methods under a stress: further columns of the method, never methods of their own."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from made_verdicts import judged, run_of, spread

from greaves.base.records import Verdict
from greaves.leaderboards.board.notes import stress_notes
from greaves.leaderboards.board.row import Row
from greaves.leaderboards.board.table import board_of
from greaves.leaderboards.compare.beside import beside
from greaves.leaderboards.read.slices import sort_verdicts
from greaves.leaderboards.show import render, wide
from greaves.leaderboards.show.latex import latex

BEFORE = {"vanilla": (60, 0), "rrs": (10, 2), "sft-full": (30, 5)}
AFTER = {
    "vanilla~benign-finetuning": (80, 0),
    "rrs~benign-finetuning": (50, 1),
    "sft-full~benign-finetuning": (35, 4),
}
COLUMNS = ("asr_after", "asr_change", "orr_after", "hs_after", "nsi_after", "avg_nsi_after")


def jsr(method: str, hits: int) -> list[Verdict]:
    """Verdicts on the task jsr: `hits` of 100 responses harmful."""
    verdicts = judged("aiah-audio-text", spread(hits, "h", questions=20), method=method)
    return [
        one.model_copy(update={"task": "jsr", "key": f"jsr/{one.key}", "sample": one.sample})
        for one in verdicts
    ]


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return board_of(sort_verdicts(run_of(BEFORE) + run_of(AFTER))).rows


def one(rows: list[Row], method: str, metric: str, mode: str | None = None) -> Row:
    (found,) = (
        row
        for row in rows
        if (row.method, row.metric) == (method, metric) and mode in (None, row.mode)
    )
    return found


def test_what_comes_after_is_the_methods_own(rows: list[Row]) -> None:
    assert {row.method for row in rows} == set(BEFORE)
    assert one(rows, "rrs", "asr_after", "text-only").value == pytest.approx(50)
    assert one(rows, "rrs", "asr_change", "text-only").value == pytest.approx(40)
    assert one(rows, "rrs", "orr_after").value == pytest.approx(1)
    assert one(rows, "rrs", "hs_after").value == pytest.approx(7.25)


def test_nsi_after_is_against_vanilla_before_any_stress(rows: list[Row]) -> None:
    assert one(rows, "rrs", "avg_nsi").value == pytest.approx((60 - 10) - (2 - 0))
    assert one(rows, "rrs", "avg_nsi_after").value == pytest.approx((60 - 50) - (1 - 0))
    assert one(rows, "vanilla", "avg_nsi_after").value == pytest.approx(60 - 80)
    assert one(rows, "vanilla", "nsi_after", "audio-only").value == pytest.approx(60 - 80)


def test_every_number_has_an_interval_around_it(rows: list[Row]) -> None:
    for row in rows:
        assert row.value is not None
        assert row.low is not None
        assert row.high is not None
        assert row.low <= row.value <= row.high


def test_stressed_cells_change_nothing_in_the_table_of_methods(rows: list[Row]) -> None:
    alone = board_of(sort_verdicts(run_of(BEFORE)))
    assert [row for row in rows if row.metric not in COLUMNS] == alone.rows
    both = board_of(sort_verdicts(run_of(BEFORE) + run_of(AFTER)))
    assert [test for test in both.tests if test.metric not in COLUMNS] == alone.tests


def test_methods_are_ranked_in_the_columns_after_a_stress_but_not_by_their_change(
    rows: list[Row],
) -> None:
    ranks = {row.method: row.rank for row in rows if row.metric == "avg_nsi_after"}
    assert ranks == {"sft-full": 1, "rrs": 2, "vanilla": 3}
    assert all(row.rank is None for row in rows if row.metric == "asr_change")


def test_a_change_is_paired_by_question() -> None:
    """Ten questions that were harmful stay so, ten others turn: every one pairs with itself."""
    before = judged("aiah-audio-text", spread(50, "h", questions=20), method="rrs")
    after = judged(
        "aiah-audio-text", spread(100, "h", questions=20), method="rrs~benign-finetuning"
    )
    left_out = [item for item in after if item.question_id != "q000"]  # it was harmful before
    row = one(board_of(sort_verdicts(before + left_out)).rows, "rrs", "asr_change")
    assert row.value == pytest.approx(100 * 10 / 19)
    assert row.n_questions == 19


def test_markdown_latex_and_terminal_sheet_hold_the_columns(rows: list[Row]) -> None:
    page = render.markdown(rows)
    head = next(line for line in page.splitlines() if "ASR after audio-text" in line)
    titles = [cell.strip() for cell in head.strip("|").split("|")]
    assert titles == [
        "Model",
        "Method",
        *(f"ASR after {mode}" for mode in ("audio-text", "text-only", "audio-only")),
        *(f"ASR change {mode}" for mode in ("audio-text", "text-only", "audio-only")),
        *("ORR after", "HS after"),
        *(f"NSI after {mode}" for mode in ("audio-text", "text-only", "audio-only")),
        "Avg. NSI after",
    ]
    assert "benign-finetuning" not in page
    assert latex(rows).count(r"\toprule") == 4  # levels and NSI, before and after
    parts = [part for sheet in wide.sheets(rows) for part in wide.levels_and_net(sheet)]
    assert len(parts) == 4


def test_jsr_is_called_jsr() -> None:
    verdicts = run_of(BEFORE) + run_of(AFTER)
    for method, hits in (("rrs", 5), ("rrs~benign-finetuning", 45)):
        verdicts += jsr(method, hits)
    found = board_of(sort_verdicts(verdicts)).rows
    assert one([row for row in found if row.task == "jsr"], "rrs", "asr_change").value == (
        pytest.approx(40)
    )
    titles = [column.title for sheet in wide.sheets(found) for column in sheet.columns]
    assert titles.index("ASR audio-only") < titles.index("JSR") < titles.index("ORR")
    assert {"JSR after", "JSR change"} <= set(titles)


def test_the_csv_has_the_same_fields_with_and_without_a_stress(rows: list[Row]) -> None:
    with_stress, without = (
        csv.DictReader(io.StringIO(render.as_csv(render.as_plain(found)))).fieldnames
        for found in (rows, board_of(sort_verdicts(run_of(BEFORE))).rows)
    )
    assert with_stress == without


def test_a_page_without_a_stress_says_nothing_of_one() -> None:
    page = render.markdown(board_of(sort_verdicts(run_of(BEFORE))).rows)
    assert "after" not in page.lower()
    assert page.count("| Model |") == 2


def test_published_tables_stand_beside_methods_before_any_stress(rows: list[Row]) -> None:
    shown = [[line.cells for line in table.lines] for table in beside(rows, [])]
    alone = [
        [line.cells for line in table.lines]
        for table in beside(board_of(sort_verdicts(run_of(BEFORE))).rows, [])
    ]
    assert shown == alone


def facts(method: str, **config: Any) -> dict[str, Any]:
    return {
        "method": f"{method}~benign-finetuning",
        "stresses": method,
        "config": {"axis": "semantic", "fraction": 0.25, **config},
        "defence_notes": {"selection": {"questions": 24, "of": 96}},
    }


def test_notes_say_what_the_stress_was_and_warn_where_methods_had_different_ones() -> None:
    (same,) = stress_notes([{"method": "rrs"}, facts("rrs"), facts("vanilla")])
    assert same == (
        "Under benign-finetuning (24 of 96 benign questions; axis semantic; fraction 0.25):"
        " rrs, vanilla"
    )
    *_, last = stress_notes([facts("rrs"), facts("vanilla", axis="acoustic")])
    assert "no comparison" in last
    assert stress_notes([{"method": "rrs"}]) == []
