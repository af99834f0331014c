"""The embedded data: questions and clips for evaluation, validation, alignment, helpfulness."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path

from greaves.data.pocket.grammar import (
    FORMS,
    REPETITIONS,
    SEX_ANSWERS,
    Question,
    split_pairs,
    spoken_words,
)
from greaves.data.pocket.lexicon import FACTS, Pair
from greaves.data.speech.voices import (
    EspeakVoice,
    held_out_voices,
    ordinary_voices,
)
from greaves.models.pocket.alignment_folders import (
    BASIC_NOTE,
    PARALLEL_NOTE,
    draw_basic,
    draw_mirror,
    draw_parallel,
    write_alignment_set,
)
from greaves.models.pocket.prompts import PROMPT_POOL, REPEAT_PROMPTS, SEX_PROMPTS
from greaves.models.pocket.written_set import Row, record_clip, write_lines, write_manifest

HELD_OUT_QUESTIONS = 120
_FACT_ITEMS, _REPEAT_ITEMS, _SEX_ITEMS = 56, 28, 20


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
        rows.append(
            {
                "id": name,
                "kind": question.kind,
                "category": pair.category,
                "text": question.text,
                "verb": pair.verb,
                "object": pair.object,
                "clip": f"clips/{name}.ogg",
                "voice": record_clip(folder, f"clips/{name}.ogg", question.text, voices, chooser),
            }
        )
    write_lines(folder, "questions.jsonl", rows, seed, counts)


def _write_air_bench(folder: Path, voices: Sequence[EspeakVoice], seed: int) -> None:
    chooser = random.Random(seed)
    items: list[Row] = []

    def add(task: str, text: str, question: str, answer: str, about: str) -> None:
        name = f"{len(items):03d}.ogg"
        voice = chooser.choice(voices)
        record_clip(folder / "Chat" / f"{task}_pocket", name, text, [voice], chooser)
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
    write_manifest(folder, "Chat/Chat_meta.json", seed, {"items": len(items)})
