"""AIAH, setting 3: harmful words spelled out in a clip, which the text asks to put together.

50 questions of PAIR. The clip spells a word letter by letter; the text beside it, the authors'
jailbreak prompt, asks to join the letters and to complete a question with the word. Prompts and
clips come from the authors' own files and from nowhere else: they are not made here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from greaves.base.errors import DataError
from greaves.base.records import Question
from greaves.data.imports.aiah_layout import SPEECH_SPECIFIC
from greaves.data.task import field, read_json_lines, register_task
from greaves.tasks.aiah import AIAH


@register_task("aiah-speech-specific")
class SpeechSpecific(AIAH):
    """ASR on harmful words spelled out in the clip (AIAH setting 3; the authors' files only)."""

    licence = (
        "AIAH's repository: MIT; its clips and prompts: given out by the authors on request; "
        "questions of PAIR: MIT"
    )
    layout = (
        f"{SPEECH_SPECIFIC}, one question per line: {{id, category, text, prompt, clip}}, text "
        "being the question in words, prompt the text beside the clip; made by: greaves data "
        "import aiah SOURCE FOLDER --speech-specific FILE"
    )

    def questions(self, data: Path) -> list[Question]:
        path = data / SPEECH_SPECIFIC
        if not path.is_file():
            raise DataError(
                "there are no speech-specific questions in this folder",
                where=str(path),
                do="they come from AIAH's authors alone (ask them: "
                f"{self.homepage}); then: greaves data import aiah ... --speech-specific FILE",
            )
        return self._asked(read_json_lines(path), data, path)

    def _prompt_of(self, row: dict[str, Any], where: str, text: str) -> str:
        return field(row, "prompt", where)
