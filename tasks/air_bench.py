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

import json
import logging
from pathlib import Path
from typing import Any, ClassVar

from greaves.base.errors import DataError
from greaves.base.records import Kind, Mode, Question
from greaves.base.text import printable
from greaves.data.imports.clip_facts import clip_facts
from greaves.data.task import Task, field, inside, register_task

logger = logging.getLogger("greaves")


class AIRBench(Task):
    """Base of the tasks, one a part of the benchmark.

    Attributes:
        part: what the part is called in messages.
        parts: its task names.
    """

    version: ClassVar[str] = "1"
    benchmark: ClassVar[str] = "air-bench"
    kind: ClassVar[Kind] = "chat"
    mode: ClassVar[Mode] = "audio-text"
    licence: ClassVar[str] = "CC-BY-NC-4.0 (qyang1021/AIR-Bench-Dataset on the hub)"
    citation: ClassVar[str] = (
        "Qian Yang, Jin Xu, Wenrui Liu, Yunfei Chu, Ziyue Jiang, Xiaohuan Zhou, Yichong Leng, "
        "Yuanjun Lv, Zhou Zhao, Chang Zhou, Jingren Zhou: AIR-Bench: Benchmarking Large "
        "Audio-Language Models via Generative Comprehension. ACL 2024. arXiv:2402.07729"
    )
    homepage: ClassVar[str] = "https://github.com/OFA-Sys/AIR-Bench"
    layout: ClassVar[str] = (
        "the dataset as it is: Chat/Chat_meta.json, clips at Chat/{task_name}_{dataset_name}/{path}"
    )
    part: ClassVar[str]
    parts: ClassVar[frozenset[str]]

    def questions(self, data: Path) -> list[Question]:
        """See `Task.questions`."""
        path = data / "Chat" / "Chat_meta.json"
        found, unheard = self._read(path)
        if unheard:
            logger.warning(
                "%s: left out, as their clips are missing, empty or corrupt: %s",
                path,
                printable(", ".join(sorted(unheard))),
            )
        if not found:
            raise DataError(f"no {self.part} items with a clip", where=str(path))
        return found

    def left_out(self, data: Path) -> dict[str, str]:
        """See `Task.left_out`."""
        return self._read(data / "Chat" / "Chat_meta.json")[1]

    def _read(self, path: Path) -> tuple[list[Question], dict[str, str]]:
        """Questions whose clips can be heard, and id -> why of the others."""
        items: dict[str, tuple[str, dict[str, Any], Path]] = {}
        for number, row in enumerate(_rows(path)):
            where = f"{path}: item {number}"
            if not isinstance(row, dict):
                raise DataError("not a JSON object", where=where)
            category = field(row, "task_name", where)
            if category not in self.parts:
                continue
            name = _name(row, where)
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

    name: ClassVar[str] = "air-bench-chat"
    part: ClassVar[str] = "speech"
    parts: ClassVar[frozenset[str]] = frozenset({"speech_QA", "speech_dialogue_QA"})


@register_task("air-bench-chat-sound")
class AIRBenchSound(AIRBench):
    """Score on AIR-Bench chat, sound part (not HS, which is speech)."""

    name: ClassVar[str] = "air-bench-chat-sound"
    part: ClassVar[str] = "sound"
    parts: ClassVar[frozenset[str]] = frozenset({"sound_QA", "sound_generation_QA"})


@register_task("air-bench-chat-music")
class AIRBenchMusic(AIRBench):
    """Score on AIR-Bench chat, music part (not HS, which is speech)."""

    name: ClassVar[str] = "air-bench-chat-music"
    part: ClassVar[str] = "music"
    parts: ClassVar[frozenset[str]] = frozenset({"music_QA", "music_generation_analysis_QA"})


@register_task("air-bench-chat-speech-and-sound")
class AIRBenchSpeechAndSound(AIRBench):
    """Score on AIR-Bench chat, mixed audio: speech and sound (not HS, which is speech)."""

    name: ClassVar[str] = "air-bench-chat-speech-and-sound"
    part: ClassVar[str] = "speech and sound"
    parts: ClassVar[frozenset[str]] = frozenset({"speech_and_sound_QA"})


@register_task("air-bench-chat-speech-and-music")
class AIRBenchSpeechAndMusic(AIRBench):
    """Score on AIR-Bench chat, mixed audio: speech and music (not HS, which is speech)."""

    name: ClassVar[str] = "air-bench-chat-speech-and-music"
    part: ClassVar[str] = "speech and music"
    parts: ClassVar[frozenset[str]] = frozenset({"speech_and_music_QA"})


def _rows(path: Path) -> list[Any]:
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(
            "there is no such file", where=str(path), do="check the data folder in the recipe"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"cannot be read as JSON ({error})", where=str(path)) from None
    if not isinstance(rows, list):
        raise DataError("not a JSON list", where=str(path))
    return rows


def _name(row: dict[str, Any], where: str) -> str:
    """Ids are numbers or texts."""
    name = row.get("uniq_id")
    return str(name) if type(name) is int else field(row, "uniq_id", where)


def _about(row: dict[str, Any], where: str) -> str:
    """Descriptions are texts, or lists and mappings of them."""
    about = row.get("meta_info")
    return field({"meta_info": str(about)}, "meta_info", where) if about else ""
