"""Published results: copied right, recomputed, bounded, and set beside a run."""

from __future__ import annotations

import pytest
from made_verdicts import judged, run_of

from greaves.base.errors import GreavesError
from greaves.leaderboards.board.table import leaderboard
from greaves.leaderboards.compare.beside import OURS, PAPER, Kept, beside, cell, markdown, sarsteer
from greaves.leaderboards.compare.papers import (
    SOURCES,
    Column,
    approximate_interval,
    rrs_feature_selection,
    rrs_rates,
    rrs_tables,
    source,
)

HALF_A_DIGIT = 0.005 + 1e-9
LINES = [
    (model, method)
    for model, methods in rrs_rates().items()
    for method in methods
    if method != "vanilla"
]
NO_COUNTS = {  # printed percentages that are no multiple of 1 / 1,750; the YAML explains each
    ("qwen-audio", "vanilla", 56.65),
    ("qwen2-audio", "vanilla", 10.93),
    ("qwen2.5-omni", "25", 2.68),
}


@pytest.mark.parametrize(("model", "method"), LINES)
def test_every_printed_nsi_follows_from_the_printed_rates(model: str, method: str) -> None:
    line, vanilla = (rrs_rates()[model][name] for name in (method, "vanilla"))
    asr = line.asr()
    nsi = {
        mode: (value - asr[mode]) - (line.orr - vanilla.orr)
        for mode, value in vanilla.asr().items()
        if mode in asr
    }
    for mode, value in nsi.items():
        if line.printed_nsi(mode) is not None:
            assert value == pytest.approx(line.printed_nsi(mode), abs=HALF_A_DIGIT)
    assert sum(nsi.values()) / len(nsi) == pytest.approx(line.avg_nsi, abs=HALF_A_DIGIT)


def test_printed_rates_are_counts_of_1750_but_for_three() -> None:
    odd = {
        (model, name, percent)
        for table in (rrs_rates(), rrs_feature_selection())
        for model, lines in table.items()
        for name, line in lines.items()
        for percent in (*line.asr().values(), line.orr)
        if abs(round(round(percent * 17.5) / 17.5, 2) - percent) > 1e-9
    }
    assert odd == NO_COUNTS


def test_sources_agree_where_they_report_the_same() -> None:
    aiah = source("aiah")["models"]
    for model in ("qwen-audio", "qwen2-audio"):
        vanilla = rrs_rates()[model]["vanilla"]
        assert aiah[model]["vanilla"]["audio_text"] == vanilla.audio_text
        assert aiah[model]["vanilla"]["text_only"] == vanilla.text_only
    kept = rrs_feature_selection()
    for model, methods in rrs_rates().items():  # Table 4 repeats the chosen share's line
        chosen = kept[model][f"{methods['rrs'].top_percent:g}"]
        assert (chosen.asr(), chosen.orr) == (methods["rrs"].asr(), methods["rrs"].orr)


@pytest.mark.parametrize("name", SOURCES)
def test_every_source_says_where_it_is_from_and_who_judged(name: str) -> None:
    content = source(name)
    assert {"title", "venue", "year"} <= set(content["source"])
    assert content["judge"]


def test_approximate_interval_rests_on_583_responses() -> None:
    low, high = approximate_interval(0.0, n_questions=350, n_samples=5)
    assert (low, high) == (0.0, pytest.approx(100 * (1 - 0.025 ** (3 / 1750))))
    low, high = approximate_interval(100.0, n_questions=250, n_samples=1)
    assert (low, high) == (pytest.approx(100 * 0.025 ** (1 / 250)), 100.0)
    low, high = approximate_interval(50.0, n_questions=350, n_samples=5)
    assert high - 50 == pytest.approx(50 - low) == pytest.approx(196 * 0.5 / 583.3**0.5, rel=0.03)


def test_published_differences_within_noise_are_marked() -> None:
    second = rrs_tables()[0].lines["qwen2.5-omni"]
    average, orr = Column("avg_nsi"), Column("orr")
    assert second["rrs"][average].best
    assert second["rrs-no-penalty"][average].within_noise  # 6.81 against 7.93
    assert second["sft-full"][average].within_noise is False
    assert second["sft-deep"][orr].within_noise is False  # 34.23 against 0.29
    assert average not in second["vanilla"]
    # 2.06 [1.1, 3.6] against 0.74 [0.2, 1.8]: 1.32 is less than hypot(2.06 - 1.08, 1.81 - 0.74)
    assert rrs_tables()[0].lines["qwen2-audio"]["rrs"][orr].within_noise


def test_helpfulness_has_no_interval_since_its_spread_is_unknown() -> None:
    figure = rrs_tables()[1].lines["qwen2-audio"]["rrs"][Column("hs")]
    assert (figure.value, figure.low, figure.within_noise) == (6.83, None, None)


def test_every_approximate_interval_holds_its_figure() -> None:
    for table in rrs_tables():
        for lines in table.lines.values():
            for cells in lines.values():
                for figure in cells.values():
                    if figure.low is not None and figure.high is not None:
                        assert figure.low < figure.value < figure.high


def test_released_models_stand_in_a_table_of_their_own() -> None:
    (table,) = beside([], [], names=["aiah"])
    line = next(line for line in table.lines if line.model == "gemini-1.5-pro")
    figure = line.cells[Column("asr", "text-only")]
    assert cell(figure) == ("0.11", "", "~[0.0, 0.8]", False)
    assert len(table.lines) == 7


def test_sarsteer_is_told_apart_from_the_tables() -> None:
    told = sarsteer()
    assert "figstep-audio 10.80 ~[7.2, 15.3]" in told  # Clopper-Pearson, 27 of 250
    assert "sorry-bench 13.41." in told  # number of questions unknown: no interval


def test_ours_follows_the_papers_line_of_the_same_model_and_method() -> None:
    rows = leaderboard(run_of({"vanilla": (60, 5), "rrs": (10, 10), "mine": (20, 5)}))
    renamed = [row.model_copy(update={"model": "Qwen/Qwen2-Audio-7B-Instruct"}) for row in rows]
    (table,) = beside(renamed, [], names=["2"])
    names = [(line.name, line.by) for line in table.lines]
    first = names.index(("vanilla", OURS))
    assert names[first - 1] == ("vanilla", PAPER)
    assert table.lines[first - 1].model == "qwen2-audio"
    assert names[names.index(("rrs", OURS)) - 1] == ("rrs", PAPER)
    last = names.index(("mine", OURS))  # no line of the paper's: after the model's last
    assert table.lines[last + 1].model == "qwen2.5-omni"
    ours = table.lines[names.index(("rrs", OURS))].cells
    assert cell(ours[Column("asr", "audio-text")]).number == "10.0"


def test_feature_selection_shows_rrs_cells_by_the_share_they_keep() -> None:
    rows = leaderboard(run_of({"rrs": (10, 10), "rrs-25": (20, 5), "vanilla": (60, 5)}))
    kept = [Kept("qwen2-audio", "rrs", None), Kept("qwen2-audio", "rrs-25", 25.0)]
    (table,) = beside(rows, kept, names=["4"])
    ours = [line for line in table.lines if line.by == OURS]
    assert [line.name for line in ours] == ["25 (rrs-25)", "all > 0 (rrs)"]
    assert table.lines[table.lines.index(ours[0]) - 1].name == "25"


def test_an_unmatched_model_stands_below_the_papers() -> None:
    rows = leaderboard(judged("aiah-audio-text", {"q": "ha"}, model="pocket"))
    page = markdown(beside(rows, []), label="pocket")
    assert page.count("| pocket | vanilla | this run |") == 3  # tables 2, 3 and aiah
    assert "| qwen-audio | sft-deep | paper | **0.34** \\~[0.0, 1.2] |" in page.replace(
        "\\[", "["
    ).replace("\\]", "]")


def test_unknown_table_and_mixed_judges_are_one_line() -> None:
    with pytest.raises(GreavesError, match="no published table '7'; tables: 2, 3, 4, aiah"):
        beside([], [], names=["7"])
    rows = [
        row
        for judge in ("one@1", "two@1")
        for row in leaderboard(judged("aiah-benign", {"b": "ra"}, judge=judge))
    ]
    with pytest.raises(GreavesError, match=r"two judges .*choose one with --judge"):
        beside(rows, [])
