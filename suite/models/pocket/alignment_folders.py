"""The embedded alignment data: Mirror, Parallel and Basic, from training pairs only.

A set is drawn first, which is quick and a function of its seeds, and spoken then.
"""

from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from greaves.data.pocket.grammar import FORMS, Question, answer, refusal, split_pairs
from greaves.data.pocket.lexicon import CATEGORIES, Pair
from greaves.data.pocket.mirror import mirror_questions
from greaves.data.speech.voices import EspeakVoice
from greaves.data.task import read_json_lines
from greaves.models.pocket.clips import encode_clip
from greaves.models.pocket.synthesis import speak
from greaves.models.pocket.written_set import Row, write_lines

MIRROR_PAIRS = 200

PER_CATEGORY = 16
"""Harmful questions of each category in Parallel and in Basic."""

_ROOM = (
    f"{PER_CATEGORY} harmful questions of each of the {len(CATEGORIES)} categories and as many "
    "benign ones: what fits beside the other sets into 8 MB of clips"
)
PARALLEL_NOTE = f"the harmful questions are Mirror's; {_ROOM}"
BASIC_NOTE = f"responses are the grammar's refusals and answers; {_ROOM}"


@dataclass(frozen=True)
class Line:
    """A line of `pairs.jsonl` and where its clip comes from.

    Attributes:
        row: the line.
        voice: who speaks the question; None for a clip that is copied.
        copied: clip of the Mirror set, relative to its folder.
    """

    row: Row
    voice: EspeakVoice | None = None
    copied: str = ""


def write_alignment_set(
    folder: Path, lines: Sequence[Line], seed: int, mirror: Path | None = None, note: str = ""
) -> None:
    """Speaks or copies every clip of a drawn set and writes its lines and manifest.

    Args:
        folder: of the new set.
        lines: as drawn.
        seed: that they were drawn with, for the manifest.
        mirror: the Mirror set, for lines whose clips are copied, byte for byte.
        note: for the manifest.
    """
    for line in lines:
        target = folder / line.row["path"]
        target.parent.mkdir(parents=True, exist_ok=True)
        if line.voice is not None:
            target.write_bytes(encode_clip(speak(line.voice, line.row["prompt"])))
        elif mirror is not None:
            shutil.copyfile(mirror / line.copied, target)
    rows = [line.row for line in lines]
    counts = Counter(row["kind"] for row in rows)
    facts = {"note": note} if note else {}
    write_lines(folder, "pairs.jsonl", rows, seed, counts, **facts)


def draw_mirror(voices: Sequence[EspeakVoice], seed: int) -> list[Line]:
    """Mirror: harmful questions, each with its benign rewrite."""
    chooser = random.Random(seed)
    lines: list[Line] = []
    for number, both in enumerate(mirror_questions(MIRROR_PAIRS, seed)):
        for question in both:
            name = f"mirror-{question.kind}-{number:03d}"
            row = _row(name, question, number, both[0].pair.category)
            lines.append(Line(row, chooser.choice(voices)))
    return lines


def draw_parallel(
    mirror: Path, mirror_seed: int, voices: Sequence[EspeakVoice], seed: int
) -> list[Line]:
    """Parallel: some of Mirror's harmful questions, and random benign ones.

    Args:
        mirror: the Mirror set.
        mirror_seed: the seed which that set was made with.
        voices: who speaks the benign questions, none of which is a rewrite in Mirror.
        seed: of all choices.
    """
    chooser = random.Random(seed)
    mirrored = read_json_lines(mirror / "pairs.jsonl")
    harmful = [row for _, row in mirrored if row["kind"] == "harmful"]
    chosen = [
        row
        for category in CATEGORIES
        for row in chooser.sample([r for r in harmful if r["category"] == category], PER_CATEGORY)
    ]
    chooser.shuffle(chosen)
    benign = _spare_pairs(mirror_seed, harmful=False)[: len(chosen)]
    lines: list[Line] = []
    for number, (row, pair) in enumerate(zip(chosen, benign, strict=True)):
        name = f"parallel-harmful-{number:03d}"
        own = {**row, "id": name, "pair": "", "path": f"clips/{name}.ogg"}
        lines.append(Line(own, copied=row["path"]))
        question = Question(pair, chooser.randrange(len(FORMS)))
        row = _row(f"parallel-benign-{number:03d}", question, "", pair.category)
        lines.append(Line(row, chooser.choice(voices)))
    return lines


def draw_basic(mirror_seed: int, voices: Sequence[EspeakVoice], seed: int) -> list[Line]:
    """Basic: harmful questions with a refusal, benign ones with an answer.

    Its questions are in neither Mirror nor Parallel. Arguments as in `draw_parallel`.
    """
    chooser = random.Random(seed)
    spare = _spare_pairs(mirror_seed, harmful=True)
    harmful = [
        pair
        for category in CATEGORIES
        for pair in [own for own in spare if own.category == category][:PER_CATEGORY]
    ]
    chooser.shuffle(harmful)
    count = len(harmful)
    benign = _spare_pairs(mirror_seed, harmful=False)[count : 2 * count]  # Parallel has the first
    lines: list[Line] = []
    for number, pairs in enumerate(zip(harmful, benign, strict=True)):
        for pair in pairs:
            question = Question(pair, chooser.randrange(len(FORMS)))
            voice = chooser.choice(voices)
            respond = refusal if pair.harmful else answer
            row = _row(f"basic-{pair.kind}-{number:03d}", question, "", pair.category)
            lines.append(Line({**row, "response": respond(pair, chooser)}, voice))
    return lines


def _spare_pairs(mirror_seed: int, *, harmful: bool) -> list[Pair]:
    """Training pairs of one kind that Mirror does not use, shuffled; a function of its seed."""
    both_kinds = mirror_questions(MIRROR_PAIRS, mirror_seed)
    used = {question.pair for both in both_kinds for question in both}
    spare = [p for p in split_pairs()["train"] if p.harmful is harmful and p not in used]
    random.Random(mirror_seed).shuffle(spare)
    return spare


def _row(name: str, question: Question, pair: int | str, category: str) -> Row:
    return {
        "id": name,
        "kind": question.kind,
        "pair": pair,
        "category": category,
        "prompt": question.text,
        "path": f"clips/{name}.ogg",
    }
