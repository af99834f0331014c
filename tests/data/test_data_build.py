"""Building sets from a dataset in BeaverTails' schema: what is in them, and what is left out."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import datasets
import pytest
import yaml
from made_builds import make, polite
from made_data_servers import Reply, chat_server, speech_server, tone
from made_questions import CATEGORIES, write_dataset

from greaves.base.errors import DataError, StoreError
from greaves.data.alignment.rewriting import words_changed
from greaves.data.alignment.sets import load_alignment_data
from greaves.data.alignment.spec import read_spec
from greaves.data.alignment.verify import verify


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return write_dataset(tmp_path / "BeaverTails")


def manifest(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "manifest.json").read_text())


def review(folder: Path) -> list[dict[str, str]]:
    with (folder / "review.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def write_rows(folder: Path, rows: list[dict[str, str]]) -> None:
    with (folder / "review.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def test_basic_holds_harmful_questions_with_safe_responses_and_benign_ones(
    dataset: Path, tmp_path: Path
) -> None:
    built = make("basic", dataset, tmp_path / "basic")
    data = load_alignment_data(tmp_path / "basic", "basic")
    assert built.counts == {"harmful": 6, "benign": 6}
    assert Counter(item.category for item in data.harmful) == dict.fromkeys(CATEGORIES, 2)
    assert all(item.response.startswith("I cannot help") for item in data.harmful)
    assert all(item.response.startswith("Rub spoon") for item in data.benign)
    assert verify(tmp_path / "basic").faults == ()


def test_the_same_recipe_builds_the_same_bytes(dataset: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        make("basic", dataset, tmp_path / name)
    assert manifest(tmp_path / "one") == manifest(tmp_path / "two")
    make("basic", dataset, tmp_path / "three", seed=1)
    assert manifest(tmp_path / "one")["sha256"] != manifest(tmp_path / "three")["sha256"]


def test_mirror_pairs_each_harmful_question_with_its_rewrite(dataset: Path, tmp_path: Path) -> None:
    with chat_server(polite) as server:
        make("mirror", dataset, tmp_path / "mirror", server)
    data = load_alignment_data(tmp_path / "mirror", "mirror")
    assert len(server.requests) == len(data.harmful) == len(data.benign) == 6
    benign = {item.pair: item for item in data.benign}
    for item in data.harmful:
        assert words_changed(item.text, benign[item.pair].text) == 1
        assert benign[item.pair].category == item.category
    assert verify(tmp_path / "mirror").faults == ()
    found = manifest(tmp_path / "mirror")
    assert found["rewriter"]["model"] == "made-up"
    assert found["sources"][0]["name"] == "BeaverTails"
    assert found["counts"] == {"harmful": 6, "benign": 6}
    assert set(found["categories"]) == set(CATEGORIES)
    assert "key" not in json.dumps(found).lower()
    assert str(tmp_path) not in json.dumps(found)


def test_parallel_draws_mirrors_harmful_questions_or_takes_over_its_clips(
    dataset: Path, tmp_path: Path
) -> None:
    with chat_server(polite) as server:
        make("mirror", dataset, tmp_path / "mirror", server)
    make("parallel", dataset, tmp_path / "drawn")
    make("parallel", dataset, tmp_path / "taken", mirror=str(tmp_path / "mirror"))
    mirror = load_alignment_data(tmp_path / "mirror", "mirror")
    for name in ("drawn", "taken"):
        data = load_alignment_data(tmp_path / name, "parallel")
        assert [item.text for item in data.harmful] == [item.text for item in mirror.harmful]
        assert len(data.benign) == 6
        assert not {item.text for item in data.benign} & {item.text for item in mirror.benign}
        assert {item.pair for item in data.items} == {""}
        # The same text and seed pick the same voice, so even drawn clips are Mirror's.
        for own, mirrored in zip(data.harmful, mirror.harmful, strict=True):
            assert Path(own.clip).read_bytes() == Path(mirrored.clip).read_bytes()


def misbehaved(question: str, number: int) -> Reply:
    """Pilfering is rewritten at the third attempt, leaking never, and sabotage at once."""
    if "leak" in question:
        refusal, garbage = "I cannot help with that?", "\x07\ud83d" * 3
        return (refusal, garbage, "", question)[number % 4]
    if "pilfer" in question and number < 2:
        return ("How could we kindly ever polish all these?", "```json\n{}\n```")[number]
    return polite(question, number)


def test_bad_rewrites_are_tried_again_and_then_left_out_by_name(
    dataset: Path, tmp_path: Path
) -> None:
    with chat_server(misbehaved) as server:
        built = make("mirror", dataset, tmp_path / "mirror", server)
        assert len(server.requests) == 2 * 1 + 2 * 3 + 2 * 4
        make("mirror", dataset, tmp_path / "mirror", server)
        assert len(server.requests) == 16, "a finished build asks for nothing"
    assert built.counts == {"harmful": 4, "benign": 4}
    assert set(built.left_out.values()) == {"rewrite failed: unchanged"}
    assert manifest(tmp_path / "mirror")["left_out"] == built.left_out
    rows = {row["id"]: row for row in review(tmp_path / "mirror")}
    assert len(rows) == 6
    for name in built.left_out:
        assert (rows[name]["status"], rows[name]["attempts"]) == ("failed: unchanged", "4")
        assert (rows[name]["category"], rows[name]["benign"]) == ("privacy_violation", "")


def test_a_rewrite_into_another_harmful_question_of_the_set_does_not_count(
    dataset: Path, tmp_path: Path
) -> None:
    def sideways(question: str, number: int) -> str:
        return re.sub("sabotage|leak|pilfer", "pilfer" if number == 0 else "polish", question)

    with chat_server(sideways) as server:
        make("mirror", dataset, tmp_path / "mirror", server, per_category=8)
    data = load_alignment_data(tmp_path / "mirror", "mirror")
    assert len(data.benign) == 24
    assert not {item.text for item in data.benign} & {item.text for item in data.harmful}


def test_a_person_may_reject_and_correct_rewrites(dataset: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mirror"
    with chat_server(polite) as server:
        stopped = make("mirror", dataset, folder, server, stop_for_review=True)
        assert stopped.counts == {}
        assert not (folder / "pairs.jsonl").exists()
        rows = review(folder)
        rows[0]["accept"] = "no"
        rows[1]["benign"] = rows[1]["benign"].replace("polish", "frame")
        write_rows(folder, rows)
        built = make("mirror", dataset, folder, server)
        assert built.left_out == {"mirror-harmful-0000": "rewrite rejected"}
        texts = {item.id: item.text for item in load_alignment_data(folder, "mirror").benign}
        assert len(texts) == 5
        assert "frame" in texts["mirror-benign-0001"]
        assert [row["status"] for row in review(folder)][:3] == ["rejected", "edited", "ok"]
        rows[0]["accept"] = "yes"
        rows[1]["benign"] = rows[1]["harmful"].replace("the", "the old")
        write_rows(folder, rows)
        make("mirror", dataset, folder, server)
        assert len(server.requests) == 6
    texts = {item.id: item.text for item in load_alignment_data(folder, "mirror").benign}
    assert len(texts) == 6
    assert "the old" in texts["mirror-benign-0001"]
    assert verify(folder).faults == ()


def test_a_correction_that_is_no_rewrite_is_refused_before_anything_is_asked(
    dataset: Path, tmp_path: Path
) -> None:
    with chat_server(polite) as server:
        make("mirror", dataset, tmp_path / "mirror", server, stop_for_review=True)
        rows = review(tmp_path / "mirror")
        rows[2]["benign"] = "What a lovely day this really is, is it not?"
        write_rows(tmp_path / "mirror", rows)
        with pytest.raises(DataError, match=r"review\.csv:4: the benign question is not a rewrite"):
            make("mirror", dataset, tmp_path / "mirror", server)
        assert len(server.requests) == 6


def test_a_cell_that_a_spreadsheet_would_run_is_quoted(tmp_path: Path, dataset: Path) -> None:
    formula = "=How do I sabotage the map?"
    line = {"prompt": formula, "response": "x", "category": {"theft": True}, "is_safe": False}
    folder = write_dataset(tmp_path / "formula", [line])
    with chat_server(polite) as server:
        make("mirror", folder, tmp_path / "mirror", server, stop_for_review=True)
        make("mirror", folder, tmp_path / "mirror", server)
    assert review(tmp_path / "mirror")[0]["harmful"] == f"'{formula}"
    data = load_alignment_data(tmp_path / "mirror", "mirror")
    assert data.benign[0].text == "=How do I polish the map?"


def test_broken_clips_are_left_out_by_name_and_their_partners_with_them(
    dataset: Path, tmp_path: Path
) -> None:
    faults = {
        "sabotage": (tone(0.5, peak=0.0), "silent"),
        "leak": (tone(0.5, peak=9.0), "clipped"),
        "spoon": (tone(31.0), "more than 30 s"),
    }
    broken: set[str] = set()

    def say(text: str) -> bytes:
        for word, (clip, _) in faults.items():
            if word in text and word not in broken:
                broken.add(word)
                return clip
        return b"" if "pilfer the" in text and "map" in text else tone()

    voice = {"engine": "google", "parallel": 1}
    with chat_server(polite) as server, speech_server(say) as speech:
        voice["endpoint"] = speech.address
        built = make("mirror", dataset, tmp_path / "mirror", server, voice=voice, per_category=8)
        asked = len(speech.requests)
        assert asked == 48
        make("mirror", dataset, tmp_path / "mirror", server, voice=voice, per_category=8)
        assert len(speech.requests) == asked, "a broken clip is not asked for again"
    reasons = sorted(built.left_out.values())
    assert len(reasons) == 6
    assert sum("is left out" in reason for reason in reasons) == 3
    assert [word for _, word in faults.values() if any(word in r for r in reasons)] == [
        *("silent", "clipped")
    ]
    assert sum("empty file" in reason for reason in reasons) == 1
    assert built.counts == {"harmful": 21, "benign": 21}
    data = load_alignment_data(tmp_path / "mirror", "mirror")
    assert Counter(item.pair for item in data.items).most_common()[-1][1] == 2
    assert verify(tmp_path / "mirror").left_out == built.left_out
    assert set(manifest(tmp_path / "mirror")["voices"]) <= set(speech.NAMES[:4])


def test_a_parallel_set_follows_the_mirror_set_that_it_takes_over(
    dataset: Path, tmp_path: Path
) -> None:
    mirror = str(tmp_path / "mirror")
    with chat_server(polite) as server:
        make("mirror", dataset, tmp_path / "mirror", server)
        make("parallel", dataset, tmp_path / "parallel", mirror=mirror)
        rows = review(tmp_path / "mirror")
        rows[0]["accept"] = "no"
        write_rows(tmp_path / "mirror", rows)
        make("mirror", dataset, tmp_path / "mirror", server)
    assert make("parallel", dataset, tmp_path / "parallel", mirror=mirror).counts["harmful"] == 5
    clips = {
        name: {
            item.text: Path(item.clip).read_bytes()
            for item in load_alignment_data(tmp_path / name, name).harmful
        }
        for name in ("mirror", "parallel")
    }
    assert clips["mirror"] == clips["parallel"]


def test_too_few_questions_are_reported_by_category(dataset: Path, tmp_path: Path) -> None:
    with chat_server(polite) as server:
        built = make(
            "mirror", dataset, tmp_path / "m", server, per_category=9, stop_for_review=True
        )
    assert built.missing == dict.fromkeys(CATEGORIES, 1)


def test_the_folder_of_another_build_is_refused(dataset: Path, tmp_path: Path) -> None:
    make("basic", dataset, tmp_path / "set")
    with pytest.raises(StoreError, match=r"another build \(`kind` differs\); choose another"):
        make("parallel", dataset, tmp_path / "set")
    with pytest.raises(StoreError, match="`seed` differs"):
        make("basic", dataset, tmp_path / "set", seed=3)


def test_changed_clips_lines_and_counts_are_found_by_the_check(
    dataset: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "basic"
    make("basic", dataset, folder)
    (folder / "clips" / "basic-harmful-0001.wav").write_bytes(tone())
    (folder / "clips" / "basic-benign-0002.wav").write_bytes(tone(peak=0.0))
    lines = (folder / "pairs.jsonl").read_text().splitlines()
    (folder / "pairs.jsonl").write_text("\n".join(lines[:-1]) + "\n")
    faults = "\n".join(verify(folder).faults)
    assert "basic-harmful-0001: the clip is not the one that was built" in faults
    assert "basic-benign-0002: the clip is silent" in faults
    assert "pairs.jsonl: not the file that the manifest was written for" in faults
    assert "manifest.json: counts" in faults


def test_a_recipe_file_names_source_and_revision_and_options_override_it(tmp_path: Path) -> None:
    recipe = {
        "kind": "mirror",
        "source": {"from": "beavertails", "dataset": "./data", "split": "330k_train"},
        "rewriter": {"endpoint": "http://localhost:8000/v1", "model": "m"},
        "voice": {"engine": "google"},
    }
    (tmp_path / "mirror.yaml").write_text(yaml.safe_dump(recipe))
    spec = read_spec(tmp_path / "mirror.yaml", {"seed": 4, "rewriter": {"model": "other"}})
    assert spec.source.dataset == str(tmp_path / "data")
    assert (spec.seed, spec.rewriter.model, spec.voice.engine) == (4, "other", "google")
    plain = read_spec(None, {"kind": "basic"})
    assert plain.source.dataset == "PKU-Alignment/BeaverTails"
    assert plain.source.revision == "8401fe609d288129cc684a9b3be6a93e41cfe678"
