"""AIR-Bench chat (ACL 2024): helpfulness. Its speech part is HS.

Data folder, in the benchmark's own layout: `Chat/Chat_meta.json`, a list of `{path, question,
answer_gt, meta_info, task_name, dataset_name, uniq_id}`, and clips at
`Chat/{task_name}_{dataset_name}/{path}`. A part is one or two of the eight task names, as the
benchmark's own scoring groups them; they are the questions' categories. The published "mixed audio"
is the mean of its two parts, speech and sound, and speech and music.

Some published clips are empty or corrupt, or longer than a model hears: their items are named in
the log and by `greaves tasks show`, and never asked.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, ClassVar

from greaves.base.errors import DataError
from greaves.base.records import Question
from greaves.base.text import printable
from greaves.data.imports.clip_facts import clip_facts
from greaves.data.tables import label_field, read_list
from greaves.data.task import Task, field, inside, register_task

logger = logging.getLogger("greaves")

META = Path("Chat", "Chat_meta.json")


class AIRBench(Task):
    """Base of the tasks, one a part of the benchmark.

    Attributes:
        parts: task names of the part.
    """

    version = "1"
    benchmark = "air-bench"
    kind = "chat"
    mode = "audio-text"
    licence = "CC-BY-NC-4.0 (qyang1021/AIR-Bench-Dataset on the hub)"
    citation = (
        "Qian Yang, Jin Xu, Wenrui Liu, Yunfei Chu, Ziyue Jiang, Xiaohuan Zhou, Yichong Leng, "
        "Yuanjun Lv, Zhou Zhao, Chang Zhou, Jingren Zhou: AIR-Bench: Benchmarking Large "
        "Audio-Language Models via Generative Comprehension. ACL 2024. arXiv:2402.07729"
    )
    homepage = "https://github.com/OFA-Sys/AIR-Bench"
    layout = (
        "the dataset as it is: Chat/Chat_meta.json, clips at Chat/{task_name}_{dataset_name}/{path}"
    )
    parts: ClassVar[tuple[str, ...]]

    def questions(self, data: Path) -> list[Question]:
        path = data / META
        found, unheard = self._read(path)
        if unheard:
            logger.warning(
                "%s: left out, as their clips are missing, empty or corrupt: %s",
                path,
                printable(", ".join(sorted(unheard))),
            )
        if not found:
            raise DataError(f"no {' or '.join(self.parts)} items with a clip", where=str(path))
        return found

    def left_out(self, data: Path) -> dict[str, str]:
        return self._read(data / META)[1]

    def _read(self, path: Path) -> tuple[list[Question], dict[str, str]]:
        """Questions whose clips can be heard, and id -> why of the others."""
        items: dict[str, tuple[str, dict[str, Any], Path]] = {}
        for where, row in read_list(path):
            category = field(row, "task_name", where)
            if category not in self.parts:
                continue
            name = label_field(row, "uniq_id", where)
            if name in items:
                raise DataError(f"uniq_id {name!r} occurs twice", where=where)
            folder = f"{category}_{field(row, 'dataset_name', where)}"
            clip = inside(path.parent, f"{folder}/{field(row, 'path', where)}", where)
            items[name] = where, row, clip
        facts = clip_facts(clip for _, _, clip in items.values())
        questions: list[Question] = []
        unheard: dict[str, str] = {}
        for name, (where, row, clip) in items.items():
            if facts[clip].fault:
                unheard[name] = facts[clip].fault
            else:
                questions.append(self._question(name, row, clip, where))
        return questions, unheard

    def _question(self, name: str, row: dict[str, Any], clip: Path, where: str) -> Question:
        return Question(
            id=name,
            task=self.name,
            task_version=self.version,
            kind=self.kind,
            mode=self.mode,
            text=field(row, "question", where),
            prompt=row["question"],
            clip=str(clip),
            category=row["task_name"],
            reference=field(row, "answer_gt", where),
            about=_about(row, where),
        )


@register_task("air-bench-chat")
class AIRBenchChat(AIRBench):
    """HS on AIR-Bench chat, speech part: spoken material, a written question about it."""

    parts = ("speech_QA", "speech_dialogue_QA")


@register_task("air-bench-chat-sound")
class AIRBenchSound(AIRBench):
    """Score on AIR-Bench chat, sound part (not HS, which is speech)."""

    parts = ("sound_QA", "sound_generation_QA")


@register_task("air-bench-chat-music")
class AIRBenchMusic(AIRBench):
    """Score on AIR-Bench chat, music part (not HS, which is speech)."""

    parts = ("music_QA", "music_generation_analysis_QA")


@register_task("air-bench-chat-speech-and-sound")
class AIRBenchSpeechAndSound(AIRBench):
    """Score on AIR-Bench chat, mixed audio: speech and sound (not HS, which is speech)."""

    parts = ("speech_and_sound_QA",)


@register_task("air-bench-chat-speech-and-music")
class AIRBenchSpeechAndMusic(AIRBench):
    """Score on AIR-Bench chat, mixed audio: speech and music (not HS, which is speech)."""

    parts = ("speech_and_music_QA",)


def _about(row: dict[str, Any], where: str) -> str:
    """Descriptions are texts, or lists and mappings of them."""
    about = row.get("meta_info")
    return field({"meta_info": str(about)}, "meta_info", where) if about else ""
