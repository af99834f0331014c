"""Tables that others wrote: every row has a place, text stays text, nothing is left behind."""

from __future__ import annotations

import json
from pathlib import Path

import datasets
import pyarrow
import pyarrow.parquet
import pytest

from greaves.base.errors import DataError
from greaves.data.imports.numbered_questions import read_texts
from greaves.data.tables import parquet_rows, read_table

ROWS = [{"text": "003", "clip": "NA"}, {"text": "two\nlines", "clip": ""}]


def written(folder: Path) -> dict[str, Path]:
    paths = {suffix: folder / f"t.{suffix}" for suffix in ("csv", "json", "jsonl", "parquet")}
    paths["csv"].write_text('text,clip\n003,NA\n"two\nlines",\n')
    paths["json"].write_text(json.dumps(ROWS))
    paths["jsonl"].write_text("".join(f"{json.dumps(row)}\n" for row in ROWS))
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), paths["parquet"])
    return paths


def test_a_table_has_the_same_rows_in_every_format_and_text_stays_text(tmp_path: Path) -> None:
    folder = tmp_path / "odd [name] *"
    folder.mkdir()
    for suffix, path in written(folder).items():
        assert [row for _, row in read_table(path)] == ROWS, suffix


def test_a_row_is_named_by_line_or_by_number(tmp_path: Path) -> None:
    paths = written(tmp_path)
    places = {suffix: read_table(path)[1][0] for suffix, path in paths.items()}
    assert places == {
        "csv": f"{paths['csv']}:4",
        "json": f"{paths['json']}: row 1",
        "jsonl": f"{paths['jsonl']}:2",
        "parquet": f"{paths['parquet']}: row 1",
    }


def test_reading_parquet_leaves_no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    assert list(parquet_rows(written(tmp_path)["parquet"])) == ROWS
    assert not (tmp_path / "cache").exists()


def test_what_is_not_parquet_is_told_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    path.write_bytes(b"PAR1 and no more")
    with pytest.raises(DataError, match="cannot be read as Parquet") as error:
        list(parquet_rows(path))
    assert "\n" not in str(error.value)


def test_safebench_in_parquet_asks_what_its_csv_asks(tmp_path: Path) -> None:
    row = {"dataset": "ForbidQI", "category_id": 1, "task_id": 2, "category_name": "Fraud"}
    row |= {"question": "How do I pilfer a spoon?", "instruction": "List. 1."}
    table = tmp_path / "SafeBench.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([row]), table)
    (tmp_path / "SafeBench.csv").write_text(
        f"{','.join(row)}\n{','.join(str(value) for value in row.values())}\n"
    )
    assert read_texts(table).questions == read_texts(tmp_path / "SafeBench.csv").questions
