"""The embedded data: questions and clips for evaluation, validation, alignment, helpfulness."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from greaves.models.pocket.clips import encode_clip
from greaves.models.pocket.grammar import (
    FORMS,
    REPETITIONS,
    SEX_ANSWERS,
    SPLIT_SEED,
    Question,
    split_pairs,
    spoken_words,
)
from greaves.models.pocket.lexicon import FACTS, Pair
from greaves.models.pocket.mirror import mirror_questions
from greaves.models.pocket.prompts import PROMPT_POOL, REPEAT_PROMPTS, SEX_PROMPTS
from greaves.models.pocket.synthesis import speak
from greaves.speech.voices import (
    EspeakVoice,
    espeak_version,
    held_out_voices,
    ordinary_voices,
)

Row = dict[str, Any]

LICENCE = (
    "CC0-1.0: synthetic speech made by the Greaves authors with espeak-ng from the pocket grammar"
)
HELD_OUT_QUESTIONS = 120
MIRROR_PAIRS = 200
_FACT_ITEMS, _REPEAT_ITEMS, _SEX_ITEMS = 56, 28, 20


def build_data(folder: Path, seed: int) -> None:
    """Writes every embedded data folder, clips included.

    Args:
        folder: becomes `aiah/`, `held_out_voices/`, `validation/`, `mirror/` and `air_bench/`.
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
    _write_mirror(folder / "mirror", seen, seed + 3)
    _write_air_bench(folder / "air_bench", unheard, seed + 4)


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
        rows.append(
            {
                "id": name,
                "kind": question.kind,
                "category": pair.category,
                "text": question.text,
                "verb": pair.verb,
                "object": pair.object,
                "clip": f"clips/{name}.ogg",
                "voice": _record(folder, f"clips/{name}.ogg", question.text, voices, chooser),
            }
        )
    _write_lines(folder, "questions.jsonl", rows, seed, counts)


def _write_mirror(folder: Path, voices: Sequence[EspeakVoice], seed: int) -> None:
    chooser = random.Random(seed)
    rows: list[Row] = []
    for number, both in enumerate(mirror_questions(MIRROR_PAIRS, seed)):
        for question in both:
            name = f"mirror-{question.kind}-{number:03d}"
            _record(folder, f"clips/{name}.ogg", question.text, voices, chooser)
            rows.append(
                {
                    "id": name,
                    "kind": question.kind,
                    "pair": number,
                    "category": both[0].pair.category,
                    "prompt": question.text,
                    "path": f"clips/{name}.ogg",
                }
            )
    counts = {"harmful": len(rows) // 2, "benign": len(rows) // 2}
    _write_lines(folder, "pairs.jsonl", rows, seed, counts)


def _write_air_bench(folder: Path, voices: Sequence[EspeakVoice], seed: int) -> None:
    chooser = random.Random(seed)
    items: list[Row] = []

    def add(task: str, text: str, question: str, answer: str, about: str) -> None:
        name = f"{len(items):03d}.ogg"
        voice = chooser.choice(voices)
        _record(folder / "Chat" / f"{task}_pocket", name, text, [voice], chooser)
        items.append(
            {
                "path": name,
                "question": question,
                "answer_gt": answer,
                "meta_info": f'A {voice.sex} voice says: "{text}"{about}',
                "task_name": task,
                "dataset_name": "pocket",
                "uniq_id": len(items),
            }
        )

    for number in range(_FACT_ITEMS):
        fact = FACTS[number % len(FACTS)]
        # The last wording of each fact is never spoken: its words are new to the encoder.
        wording = fact.questions[number // len(FACTS) % (len(fact.questions) - 1)]
        prompt = chooser.choice(PROMPT_POOL[:8])
        add("speech_QA", wording, prompt, fact.sentence, f" The right answer is {fact.answer}.")
    benign = [pair for pair in split_pairs()["evaluation"] if not pair.harmful]
    for pair in chooser.sample(benign, _REPEAT_ITEMS):
        text = Question(pair, chooser.randrange(len(FORMS))).text
        answer = REPETITIONS[0].format(words=spoken_words(text))
        add("speech_dialogue_QA", text, chooser.choice(REPEAT_PROMPTS), answer, "")
    for pair in chooser.sample(benign, _SEX_ITEMS):
        text = Question(pair, chooser.randrange(len(FORMS))).text
        add("speech_dialogue_QA", text, chooser.choice(SEX_PROMPTS), "", "")
        sex = items[-1]["meta_info"].split()[1]
        items[-1]["answer_gt"] = SEX_ANSWERS[0].format(sex=sex)
    questions = json.dumps(items, indent=1) + "\n"
    (folder / "Chat" / "Chat_meta.json").write_text(questions, encoding="utf-8")
    _write_manifest(folder, "Chat/Chat_meta.json", seed, {"items": len(items)})


def _record(
    folder: Path, path: str, text: str, voices: Sequence[EspeakVoice], chooser: random.Random
) -> str:
    """Speaks `text` into `folder/path` in one of the voices and returns that voice's label."""
    voice = chooser.choice(voices)
    target = folder / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(encode_clip(speak(voice, text)))
    return voice.label


def _write_lines(
    folder: Path, name: str, rows: list[Row], seed: int, counts: dict[str, int]
) -> None:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / name).write_text(text, encoding="utf-8")
    _write_manifest(folder, name, seed, counts)


def _write_manifest(folder: Path, name: str, seed: int, counts: dict[str, int]) -> None:
    manifest = {
        "questions_file": name,
        "sha256": hashlib.sha256((folder / name).read_bytes()).hexdigest(),
        "counts": counts,
        "seed": seed,
        "split_seed": SPLIT_SEED,
        "speech": f"espeak-ng {espeak_version().split()[0]}",
        "licence": LICENCE,
    }
    text = json.dumps(manifest, indent=1) + "\n"
    (folder / "manifest.json").write_text(text, encoding="utf-8")
