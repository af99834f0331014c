"""BeaverTails as a source: which questions are harmful or benign, and how they are drawn."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import datasets
import pytest
from made_questions import CATEGORIES, harmful_text, row, rows, write_dataset

from greaves.base.errors import DataError
from greaves.data.alignment.source import Source, beavertails, load_beavertails
from greaves.data.alignment.spec import BeaverTailsSpec

ABOUT = {"name": "test"}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def source_of(
    lines: list[dict], seed: int = 0, answered: bool = False, share: float = 0.5
) -> Source:
    return beavertails(lines, share, ABOUT, seed, answered)


def load(folder: Path, split: str = "30k_train") -> Source:
    return load_beavertails(BeaverTailsSpec(dataset=str(folder), split=split))


def test_a_folder_in_the_hubs_layout_is_read_and_described(tmp_path: Path) -> None:
    source = load(write_dataset(tmp_path / "BeaverTails"))
    about = source.about
    assert (about["name"], about["split"], about["rows"]) == ("BeaverTails", "30k_train", 117)
    assert about["revision"] is None
    assert len(about["rows_sha256"]) == 64
    drawn, missing = source.draw_harmful(3)
    assert Counter(q.category for q in drawn) == dict.fromkeys(CATEGORIES, 3)
    assert not missing


def test_the_order_of_rows_does_not_change_what_is_drawn() -> None:
    one, two = (source_of(lines, 7, answered=True) for lines in (rows(), rows()[::-1]))
    assert one.draw_harmful(4) == two.draw_harmful(4)
    assert one.draw_benign(9) == two.draw_benign(9)
    assert one.draw_harmful(4) != source_of(rows(), 8, answered=True).draw_harmful(4)


def test_a_question_counts_once_in_the_category_it_is_most_often_in() -> None:
    drawn, missing = source_of(rows()).draw_harmful(100)
    texts = [question.text for question in drawn]
    assert len(texts) == len(set(texts)) == 24
    found = {q.text: q.category for q in drawn}
    # Two flags for theft against one for the first category, which every second row has too.
    assert found[harmful_text(CATEGORIES[2], "map")] == CATEGORIES[2]
    assert missing == dict.fromkeys(CATEGORIES, 92)


def test_doubtful_questions_are_neither_harmful_nor_benign() -> None:
    source = source_of(rows())
    texts = {q.text for q in source.draw_harmful(100)[0]}
    benign = {q.text for q in source.draw_benign(100)}
    assert not [text for text in texts | benign if "box" in text]
    assert len(benign) == 30
    lenient, _ = source_of(rows(), share=0.3).draw_harmful(100)
    assert sum("box" in question.text for question in lenient) == 5


def test_responses_are_safe_ones_and_unanswered_questions_are_not_drawn_for_basic() -> None:
    more = [*rows(), row("How do I leak the umbrella?", "Do so.", False, CATEGORIES[1])]
    answered, _ = source_of(more, answered=True).draw_harmful(100)
    assert all(q.response.startswith("I cannot help") for q in answered)
    assert "How do I leak the umbrella?" not in {q.text for q in answered}
    every, _ = source_of(more).draw_harmful(100)
    assert "How do I leak the umbrella?" in {q.text for q in every}


def test_benign_questions_keep_away_from_those_given() -> None:
    source = source_of(rows())
    first = {question.text for question in source.draw_benign(20)}
    rest = {question.text for question in source.draw_benign(20, first)}
    assert (len(first), len(rest)) == (20, 10)
    assert not first & rest


def test_text_that_cannot_be_spoken_is_not_drawn() -> None:
    odd = [row("?!", "x", True), row("a\x00b", "x", True), row("Wie hei\u00dft du?", "x", True)]
    found = source_of(odd).draw_benign(9)
    assert [question.text for question in found] == ["Wie hei\u00dft du?"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.pop("is_safe"), "column 'is_safe' is missing"),
        (lambda r: r.update(category="theft"), "row 0: category is not a mapping"),
        (lambda r: r.update(prompt=None), "row 0: prompt or response is not text"),
    ],
)
def test_a_dataset_in_another_schema_is_refused(tmp_path: Path, change, message: str) -> None:
    line = row("How do I polish a spoon?", "Rub it.", True)
    change(line)
    with pytest.raises(DataError, match=message):
        load(write_dataset(tmp_path / "data", [line]))


@pytest.mark.parametrize(("there", "split"), [(False, "30k_train"), (True, "999k_train")])
def test_what_cannot_be_loaded_is_one_line(tmp_path: Path, there: bool, split: str) -> None:
    folder = write_dataset(tmp_path / "data") if there else tmp_path / "nowhere"
    with pytest.raises(DataError, match="the dataset cannot be loaded") as error:
        load(folder, split)
    assert "\n" not in str(error.value)


def test_a_dataset_that_is_not_plain_data_is_refused(tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "train.txt").write_text("one\n")
    with pytest.raises(DataError, match="not in one of the formats"):
        load(tmp_path / "texts", "train")
