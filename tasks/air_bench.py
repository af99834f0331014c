"""AIR-Bench chat (ACL 2024), speech part: helpfulness.

Data folder, in the benchmark's own layout: `Chat/Chat_meta.json`, a list of `{path, question,
answer_gt, meta_info, task_name, dataset_name, uniq_id}`, and clips at
`Chat/{task_name}_{dataset_name}/{path}`. Speech is speech_QA and speech_dialogue_QA.

Some published clips are empty or corrupt: their items are named in the log and never asked.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any, ClassVar

from greaves.errors import DataError
from greaves.records import Kind, Mode, Question
from greaves.registry import register_task
from greaves.speech.clips import can_be_heard
from greaves.task import Task, field, inside

logger = logging.getLogger("greaves")
SPEECH = frozenset({"speech_QA", "speech_dialogue_QA"})


@register_task("air-bench-chat")
class AIRBenchChat(Task):
    """HS on AIR-Bench chat, speech part: spoken material, a written question about it."""

    name: ClassVar[str] = "air-bench-chat"
    version: ClassVar[str] = "1"
    benchmark: ClassVar[str] = "air-bench"
    kind: ClassVar[Kind] = "chat"
    mode: ClassVar[Mode] = "audio-text"

    def questions(self, data: Path) -> list[Question]:
        """See `Task.questions`."""
        path = data / "Chat" / "Chat_meta.json"
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
        found: dict[str, Question] = {}
        unheard: set[str] = set()
        for number, row in enumerate(rows):
            where = f"{path}: item {number}"
            if not isinstance(row, dict):
                raise DataError("not a JSON object", where=where)
            category = field(row, "task_name", where)
            if category not in SPEECH:
                continue
            name = _name(row, where)
            if name in found or name in unheard:
                raise DataError(f"uniq_id {name!r} occurs twice", where=where)
            folder = f"{category}_{field(row, 'dataset_name', where)}"
            clip = inside(data / "Chat", f"{folder}/{field(row, 'path', where)}", where)
            if not can_be_heard(clip):
                unheard.add(name)
                continue
            found[name] = Question(
                id=name,
                task=self.name,
                task_version=self.version,
                kind=self.kind,
                mode=self.mode,
                text=field(row, "question", where),
                prompt=row["question"],
                clip=str(clip),
                category=category,
                reference=field(row, "answer_gt", where),
                about=_about(row, where),
            )
        if unheard:
            logger.warning(
                "%s: left out, as their clips are missing, empty or corrupt: %s",
                path,
                ", ".join(sorted(unheard)),
            )
        if not found:
            raise DataError("no speech items with a clip", where=str(path))
        return list(found.values())


def _name(row: dict[str, Any], where: str) -> str:
    """Ids are numbers or texts."""
    name = row.get("uniq_id")
    return str(name) if type(name) is int else field(row, "uniq_id", where)


def _about(row: dict[str, Any], where: str) -> str:
    """Descriptions are texts, or lists and mappings of them."""
    about = row.get("meta_info")
    return field({"meta_info": str(about)}, "meta_info", where) if about else ""
