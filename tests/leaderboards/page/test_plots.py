"""The two plots: which points they show, the Pareto front, and files without network."""

from __future__ import annotations

from pathlib import Path

import pytest

from greaves.base.errors import GreavesError
from greaves.base.records import Mode
from greaves.leaderboards.board.row import Row
from greaves.leaderboards.page import nsi_plot, trade_off_plot, write_plot
from greaves.leaderboards.page.plots import nsi_points, trade_off_points


def row(metric: str, method: str, value: float, **changes: object) -> Row:
    task = {"asr": "aiah-audio-text", "orr": "aiah-over-rejection", "nsi": "aiah-audio-text"}
    mode: Mode | None = None if metric == "avg_nsi" else "audio-text"
    fields = {"model": "qwen2-audio", "judge": "rules@1", "task": task.get(metric), "mode": mode}
    counts = {"n_questions": 350, "n_responses": 1750, "n_unscored": 0, "seeds": [0]}
    ends = {"value": value, "low": value - 1, "high": value + 1, "per_seed": {}}
    return Row.model_validate(
        {"metric": metric, "method": method, **fields, **counts, **ends, **changes}
    )


def both(method: str, asr: float, orr: float, **changes: object) -> list[Row]:
    return [row("asr", method, asr, **changes), row("orr", method, orr, **changes)]


@pytest.fixture
def rows() -> list[Row]:
    """Vanilla is safe to none and refuses nobody; `prompt` is worse than rrs in both."""
    return [
        *both("vanilla", 60, 2),
        *both("rrs", 5, 8),
        *both("prompt", 30, 9),
        *both("middle", 30, 4),
        row("nsi", "rrs", 49),
        row("avg_nsi", "rrs", 49),
    ]


def front(rows: list[Row]) -> set[str]:
    return {point["method"] for point in trade_off_points(rows) if point["pareto"]}


def test_the_front_holds_what_nothing_beats_in_both(rows: list[Row]) -> None:
    assert front(rows) == {"vanilla", "rrs", "middle"}


def test_two_methods_with_the_same_numbers_are_both_on_the_front() -> None:
    assert front([*both("one", 5, 8), *both("other", 5, 8)]) == {"one", "other"}


def test_equal_in_one_and_worse_in_the_other_is_off_the_front() -> None:
    assert front([*both("one", 5, 8), *both("other", 5, 9)]) == {"one"}


def test_models_have_panels_and_fronts_of_their_own(rows: list[Row]) -> None:
    second = both("prompt", 30, 9, model="kimi")
    points = trade_off_points([*rows, *second])
    assert {point["panel"] for point in points} == {"audio-text, qwen2-audio", "audio-text, kimi"}
    assert [one["pareto"] for one in points if one["model"] == "kimi"] == [True]


def test_asr_of_one_judge_is_never_paired_with_orr_of_another() -> None:
    other = row("orr", "rrs", 8, judge="other@1")
    assert trade_off_points([row("asr", "rrs", 5), other]) == []


def test_a_point_carries_both_intervals(rows: list[Row]) -> None:
    point = trade_off_points(rows)[0]
    ends = [point[name] for name in ("asr_low", "asr", "asr_high", "orr_low", "orr", "orr_high")]
    assert ends == [59, 60, 61, 1, 2, 3]


def test_nsi_and_its_average_have_a_panel_each(rows: list[Row]) -> None:
    assert [point["panel"] for point in nsi_points(rows)] == ["NSI audio-text", "Avg. NSI"]


def test_a_method_looks_the_same_in_both_plots(rows: list[Row]) -> None:
    looks = [chart.to_dict() for chart in (trade_off_plot(rows), nsi_plot(rows)) if chart]
    scales = [one["spec"]["layer"][-1]["encoding"]["color"]["scale"] for one in looks]
    assert scales[0] == scales[1]
    assert scales[0]["domain"] == ["vanilla", "rrs", "prompt", "middle"]


def test_without_numbers_there_is_no_plot() -> None:
    assert trade_off_plot([row("asr", "rrs", 5)]) is None
    assert nsi_plot([row("asr", "rrs", 5)]) is None


def test_what_cannot_be_written_is_one_line_with_the_remedy(
    rows: list[Row], tmp_path: Path
) -> None:
    with pytest.raises(GreavesError, match=r"plot\.gif: a plot is written as \.svg or \.png"):
        write_plot(trade_off_plot(rows), tmp_path / "plot.gif")
    with pytest.raises(GreavesError, match="run a harmful and a benign task"):
        write_plot(trade_off_plot([]), tmp_path / "plot.svg")


def test_nsi_lists_the_best_method_first(rows: list[Row]) -> None:
    chart = nsi_plot([*rows, row("nsi", "best", 60)])
    assert chart is not None
    axis = chart.to_dict()["spec"]["layer"][-1]["encoding"]["y"]
    assert axis["sort"] == ["best", "rrs"]


def test_plots_are_written_as_svg_and_png(
    rows: list[Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # whoever fetched would fail
    chart = trade_off_plot(rows)
    assert chart is not None
    svg, png = tmp_path / "new" / "plot.svg", tmp_path / "new" / "plot.png"
    write_plot(chart, svg, png)
    assert png.read_bytes().startswith(b"\x89PNG")
    text = svg.read_text()
    assert text.startswith("<svg")
    for word in ("vanilla", "middle", "ASR, % (lower is better)", "audio-text"):
        assert word in text
