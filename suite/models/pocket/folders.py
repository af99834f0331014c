"""The embedded data: questions and clips for evaluation, validation, alignment, helpfulness.

A set is drawn first, which is quick and a function of its seeds, and spoken then.
"""

from __future__ import annotations

import json
import random
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from greaves.base.store import as_lines
from greaves.data.pocket import grammar
from greaves.data.pocket.grammar import FORMS, Question, mirror_questions, split_pairs
from greaves.data.pocket.lexicon import CATEGORIES, FACTS, Pair
from greaves.data.speech.voices import EspeakVoice, espeak, held_out_voices, ordinary_voices
from greaves.data.tables import file_hash
from greaves.data.task import read_json_lines
from greaves.models.pocket.clips import encode_clip, speak
from greaves.models.pocket.prompts import PROMPT_POOL, REPEAT_PROMPTS, SEX_PROMPTS

Row = dict[str, Any]

LICENCE = (
    "CC0-1.0: synthetic speech made by the Greaves authors with espeak-ng from the pocket grammar"
)

MIRROR_PAIRS = 200

PER_CATEGORY = 16
"""Harmful questions of each category in Parallel and in Basic."""

_ROOM = (
    f"{PER_CATEGORY} harmful questions of each of the {len(CATEGORIES)} categories and as many "
    "benign ones: what fits beside the other sets into 8 MB of clips"
)
PARALLEL_NOTE = f"the harmful questions are Mirror's; {_ROOM}"
BASIC_NOTE = f"responses are the grammar's refusals and answers; {_ROOM}"


HELD_OUT_QUESTIONS = 120
_FACT_ITEMS, _REPEAT_ITEMS, _SEX_ITEMS = 56, 28, 20


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


def build_data(folder: Path, seed: int) -> None:
    """Writes every embedded data folder, clips included.

    Args:
        folder: becomes `aiah/`, `held_out_voices/`, `validation/`, `mirror/`, `air_bench/`,
            `parallel/` and `basic/`.
        seed: of forms and voices; the same seed gives the same questions.

    Raises:
        SpeechError: espeak-ng is not installed.
    """
    parts = split_pairs()
    seen, unheard = ordinary_voices(), held_out_voices()
    _write_questions(folder / "aiah", parts["evaluation"], seen, seed, "evaluation")
    _write_questions(folder / "validation", parts["validation"], seen, seed + 1, "validation")
    benign = [pair for pair in parts["evaluation"] if not pair.harmful][:HELD_OUT_QUESTIONS]
    _write_questions(folder / "held_out_voices", benign, unheard, seed + 2, "held-out")
    write_alignment_set(folder / "mirror", draw_mirror(seen, seed + 3), seed + 3)
    _write_air_bench(folder / "air_bench", unheard, seed + 4)
    mirror = folder / "mirror"
    lines = draw_parallel(mirror, seed + 3, seen, seed + 5)
    write_alignment_set(folder / "parallel", lines, seed + 5, mirror, PARALLEL_NOTE)
    lines = draw_basic(seed + 3, seen, seed + 6)
    write_alignment_set(folder / "basic", lines, seed + 6, note=BASIC_NOTE)


def _write_questions(
    folder: Path, pairs: Sequence[Pair], voices: Sequence[EspeakVoice], seed: int, prefix: str
) -> None:
    chooser = random.Random(seed)
    rows: list[Row] = []
    counts = {"harmful": 0, "benign": 0}
    for pair in pairs:
        question = Question(pair, chooser.randrange(len(FORMS)))
        name = f"{prefix}-{question.kind}-{counts[question.kind]:03d}"
        counts[question.kind] += 1
        voice = chooser.choice(voices)
        _record(folder / f"clips/{name}.ogg", question.text, voice)
        row = {"id": name, "kind": question.kind, "category": pair.category, "text": question.text}
        row |= {"verb": pair.verb, "object": pair.object}
        rows.append({**row, "clip": f"clips/{name}.ogg", "voice": voice.label})
    _write_set(folder, "questions.jsonl", as_lines(rows), seed, counts)


def _write_air_bench(folder: Path, voices: Sequence[EspeakVoice], seed: int) -> None:
    chooser = random.Random(seed)
    items: list[Row] = []

    def add(task: str, text: str, question: str, answer: str, about: str) -> None:
        name = f"{len(items):03d}.ogg"
        voice = chooser.choice(voices)
        chooser.choice([voice])  # the shipped items were drawn with this draw between
        _record(folder / "Chat" / f"{task}_pocket" / name, text, voice)
        said = f'A {voice.sex} voice says: "{text}"{about}'
        item: Row = {"path": name, "question": question, "answer_gt": answer, "meta_info": said}
        item |= {"task_name": task, "dataset_name": "pocket", "uniq_id": len(items)}
        items.append(item)

    for number in range(_FACT_ITEMS):
        fact = FACTS[number % len(FACTS)]
        # The last wording of each fact is never spoken: its words are new to the encoder.
        wording = fact.questions[number // len(FACTS) % (len(fact.questions) - 1)]
        prompt = chooser.choice(PROMPT_POOL[:8])
        add("speech_QA", wording, prompt, fact.sentence, f" The right answer is {fact.answer}.")
    benign = [pair for pair in split_pairs()["evaluation"] if not pair.harmful]
    for pair in chooser.sample(benign, _REPEAT_ITEMS):
        text = Question(pair, chooser.randrange(len(FORMS))).text
        answer = grammar.REPETITIONS[0].format(words=grammar.spoken_words(text))
        add("speech_dialogue_QA", text, chooser.choice(REPEAT_PROMPTS), answer, "")
    for pair in chooser.sample(benign, _SEX_ITEMS):
        text = Question(pair, chooser.randrange(len(FORMS))).text
        add("speech_dialogue_QA", text, chooser.choice(SEX_PROMPTS), "", "")
        sex = items[-1]["meta_info"].split()[1]
        items[-1]["answer_gt"] = grammar.SEX_ANSWERS[0].format(sex=sex)
    questions = json.dumps(items, indent=1) + "\n"
    _write_set(folder, "Chat/Chat_meta.json", questions, seed, {"items": len(items)})


def write_alignment_set(
    folder: Path, lines: Sequence[Line], seed: int, mirror: Path | None = None, note: str = ""
) -> None:
    """Speaks or copies every clip of a drawn set and writes its lines and manifest.

    The manifest tells of `seed`, that the lines were drawn with, and `note`. Clips that are copied,
    byte for byte, are those of the set `mirror`.
    """
    for line in lines:
        target = folder / line.row["path"]
        if line.voice is not None:
            _record(target, line.row["prompt"], line.voice)
        elif mirror is not None:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(mirror / line.copied, target)
    rows = [line.row for line in lines]
    counts = Counter(row["kind"] for row in rows)
    facts = {"note": note} if note else {}
    _write_set(folder, "pairs.jsonl", as_lines(rows), seed, counts, **facts)


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
        mirror: the Mirror set, made with `mirror_seed`.
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
            respond = grammar.refusal if pair.harmful else grammar.answer
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
    row = {"id": name, "kind": question.kind, "pair": pair, "category": category}
    return {**row, "prompt": question.text, "path": f"clips/{name}.ogg"}


def _record(path: Path, text: str, voice: EspeakVoice) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_clip(speak(voice, text)))


def _write_set(
    folder: Path, name: str, text: str, seed: int, counts: Mapping[str, int], **facts: Any
) -> None:
    """Writes a set's questions and its manifest; `facts` are further fields of the manifest."""
    (folder / name).write_text(text, encoding="utf-8")
    manifest = {
        "questions_file": name,
        "sha256": file_hash(folder / name),
        "counts": dict(counts),
        "seed": seed,
        "split_seed": grammar.SPLIT_SEED,
        "speech": f"espeak-ng {espeak().version()}",
        "licence": LICENCE,
        **facts,
    }
    written = json.dumps(manifest, indent=1) + "\n"
    (folder / "manifest.json").write_text(written, encoding="utf-8")
