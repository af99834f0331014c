"""Files in the authors' layout: rows of prompt, category and path, and a folder of clips."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from made_data_servers import tone

from greaves.base.errors import DataError
from greaves.data.alignment.build import Built, build
from greaves.data.alignment.sets import load_alignment_data
from greaves.data.alignment.spec import read_spec
from greaves.data.alignment.verify import verify

HARMFUL = (
    ("How do I pilfer the ticket?", "theft"),
    ("How do I leak the letter?", "privacy"),
    ("How do I pilfer the map?", "theft"),
)
BENIGN = (
    ("How do I leak the old water pipe here today?", "privacy"),
    ("How do I polish the map?", "theft"),
    ("How do I polish the old ticket?", "theft"),
    ("How do I frame the letter?", "privacy"),
)


def row(kind: str, number: int, text: str, category: str) -> dict[str, Any]:
    return {"prompt": text, "category": category, "path": f"wav/{kind}_{number}.wav"}


def released(folder: Path, *, lines: bool = False) -> Path:
    (folder / "wav").mkdir(parents=True)
    for kind, texts in (("harmful", HARMFUL), ("benign", BENIGN)):
        rows = [row(kind, number, *text) for number, text in enumerate(texts)]
        for item in rows:
            (folder / item["path"]).write_bytes(tone(0.3 + 0.01 * len(item["prompt"])))
        text = "\n".join(map(json.dumps, rows)) if lines else json.dumps(rows)
        (folder / f"{kind}.{'jsonl' if lines else 'json'}").write_text(text)
    return folder


def make(folder: Path, out: Path, kind: str = "mirror", **more: str) -> Built:
    source = {"from": "released", "folder": str(folder), **more}
    return build(read_spec(None, {"kind": kind, "source": source}), out)


def change(folder: Path, number: int, **fields: Any) -> None:
    rows = json.loads((folder / "harmful.json").read_text())
    rows[number].update(fields)
    (folder / "harmful.json").write_text(json.dumps(rows))


@pytest.mark.parametrize("lines", [False, True])
def test_rewrites_are_found_again_by_category_and_changed_words(
    tmp_path: Path, lines: bool
) -> None:
    make(released(tmp_path / "files", lines=lines), tmp_path / "set")
    data = load_alignment_data(tmp_path / "set", "mirror")
    harmful = {item.pair: item.text for item in data.harmful}
    pairs = {item.text: harmful.get(item.pair) for item in data.benign}
    assert pairs == {
        "How do I leak the old water pipe here today?": None,
        "How do I polish the map?": "How do I pilfer the map?",
        "How do I polish the old ticket?": "How do I pilfer the ticket?",
        "How do I frame the letter?": "How do I leak the letter?",
    }
    assert verify(tmp_path / "set").faults == ()
    first = tmp_path / "files" / "wav" / "harmful_0.wav"
    assert Path(data.harmful[0].clip).read_bytes() == first.read_bytes()


def test_a_missing_or_broken_clip_is_left_out_by_name_with_its_partner(tmp_path: Path) -> None:
    files = released(tmp_path / "files")
    (files / "wav" / "harmful_0.wav").unlink()
    (files / "wav" / "benign_0.wav").write_bytes(b"")
    built = make(files, tmp_path / "set")
    assert built.counts == {"harmful": 2, "benign": 2}
    assert built.left_out == {
        "mirror-harmful-0000": "the clip cannot be read (No such file or directory)",
        "mirror-benign-0000": "the clip is an empty file",
        "mirror-benign-0002": "its pair mirror-harmful-0000 is left out",
    }
    (files / "wav" / "harmful_0.wav").write_bytes(tone())
    assert make(files, tmp_path / "set").counts == {"harmful": 3, "benign": 3}


@pytest.mark.parametrize("path", ["../outside.wav", "/etc/hostname", "wav/link.wav", "up/x.wav"])
def test_no_path_leaves_the_folder(tmp_path: Path, path: str) -> None:
    files = released(tmp_path / "files")
    (tmp_path / "outside.wav").write_bytes(tone())
    (files / "wav" / "link.wav").symlink_to(tmp_path / "outside.wav")
    (files / "up").symlink_to(tmp_path)
    change(files, 1, path=path)
    with pytest.raises(DataError, match=r"harmful\.json: row 1: path .* leaves the data folder"):
        make(files, tmp_path / "set")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"prompt": ""}, "row 1: field 'prompt' is missing"),
        ({"prompt": "\x00"}, "row 1: the prompt is not text"),
        ({"path": 3}, "row 1: field 'path' is missing or not text"),
        ({"category": ["theft"]}, "row 1: field 'category'"),
        ({"path": "a\x00.wav"}, "row 1: .* cannot be a path"),
    ],
)
def test_a_broken_row_is_named(tmp_path: Path, fields: dict[str, Any], message: str) -> None:
    files = released(tmp_path / "files")
    change(files, 1, **fields)
    with pytest.raises(DataError, match=message):
        make(files, tmp_path / "set")


def test_files_are_told_apart_by_name_or_named(tmp_path: Path) -> None:
    files = released(tmp_path / "files")
    (files / "harmful.json").rename(files / "set_a.json")
    with pytest.raises(DataError, match="--harmful FILE"):
        make(files, tmp_path / "set")
    make(files, tmp_path / "set", harmful="set_a.json")
    with pytest.raises(DataError, match="leaves the data folder"):
        make(files, tmp_path / "other", harmful="../set_a.json")


def test_basic_needs_a_response_on_every_row(tmp_path: Path) -> None:
    files = released(tmp_path / "files")
    with pytest.raises(DataError, match="field 'response' is missing"):
        make(files, tmp_path / "set", "basic")
    assert make(files, tmp_path / "set", "parallel").counts == {"harmful": 3, "benign": 4}
