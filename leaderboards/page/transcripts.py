"""Questions, clips, responses and verdicts of a run, compact enough to ride along in the page."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from greaves.base.records import Question, Response, Verdict
from greaves.base.run_folder import RunFolder

_AUDIO = {
    ".ogg": ("audio/ogg", (b"OggS",)),
    ".opus": ("audio/ogg", (b"OggS",)),
    ".wav": ("audio/wav", (b"RIFF",)),
    ".flac": ("audio/flac", (b"fLaC",)),
    ".mp3": ("audio/mpeg", (b"ID3", b"\xff\xfb", b"\xff\xf3", b"\xff\xf2")),
}
"""Suffix -> media type and how such a file begins. A run may come from a stranger: whatever path it
names as a clip, only audio gets onto the page."""


class Clips:
    """The clips of a page: embedded as data URIs, or copied into a folder beside it.

    Args:
        page: the page that will play them.
        folder: where to copy them; None embeds them.
    """

    def __init__(self, page: Path, folder: Path | None = None) -> None:
        self._page, self._folder = page, folder
        self._places: dict[str, int | None] = {}
        self.sources: list[str] = []

    def place(self, path: str | None) -> int | None:
        """Index into `sources` of a clip; None if there is none, or it is not audio."""
        if path is None:
            return None
        if path not in self._places:
            source = self._source(Path(path))
            self._places[path] = None if source is None else len(self.sources)
            self.sources += [] if source is None else [source]
        return self._places[path]

    def _source(self, path: Path) -> str | None:
        media_type, begins = _AUDIO.get(path.suffix.lower(), ("", ()))
        if not media_type or not path.is_file():
            return None
        content = path.read_bytes()
        if not content.startswith(begins):
            return None
        if self._folder is None:
            return f"data:{media_type};base64,{base64.b64encode(content).decode()}"
        self._folder.mkdir(parents=True, exist_ok=True)
        name = f"{hashlib.sha256(content).hexdigest()[:16]}{path.suffix.lower()}"
        (self._folder / name).write_bytes(content)
        return quote(Path(os.path.relpath(self._folder / name, self._page.parent)).as_posix())


class _Strings(dict[str, int]):
    """Each text once; the rest of the page refers to it by its index."""

    def __missing__(self, text: str) -> int:
        return self.setdefault(text, len(self))


def transcripts(run: RunFolder, clips: Clips | None) -> dict[str, Any]:
    """What the reader of a cell sees.

    Args:
        clips: where clips go; None leaves them out.

    Returns:
        `texts`: every text once. `questions`: [id, text, prompt, category, clip], texts as indices
        or None. `clips`: a source each. `groups`: one a model, method and task, with `items`:
        [question, responses], a response being [seed, sample, text, truncated, verdicts] and a
        verdict [judge, outcome, score, reason].
    """
    strings = _Strings()
    questions: dict[tuple[Any, ...], int] = {}
    groups: dict[tuple[str, str, str], dict[str, Any]] = {}
    for cell in run.cells():
        responses = {one.key: one for one in cell.current_responses()}
        verdicts: dict[str, list[Verdict]] = {}
        for verdict in cell.current_verdicts():
            verdicts.setdefault(verdict.key, []).append(verdict)
        for asked in cell.questions():
            given = [responses[key] for key in asked.keys if key in responses]
            if not given:
                continue
            fields = _question(asked.question, strings, clips)
            place = questions.setdefault(fields, len(questions))
            first = given[0]
            names = {"model": first.model, "method": first.method, "task": first.task}
            new = {**names, "kind": asked.question.kind, "items": {}}
            group = groups.setdefault((first.model, first.method, first.task), new)
            answers = [_response(one, verdicts.get(one.key, ()), strings) for one in given]
            group["items"].setdefault(place, []).extend(answers)
    return {
        "texts": list(strings),
        "questions": [list(fields) for fields in questions],
        "clips": clips.sources if clips else [],
        "groups": [
            group | {"items": [list(item) for item in group["items"].items()]}
            for group in groups.values()
        ],
    }


def _question(question: Question, strings: _Strings, clips: Clips | None) -> tuple[Any, ...]:
    prompt = None if question.prompt is None else strings[question.prompt]
    clip = clips.place(question.clip) if clips else None
    words = [strings[text] for text in (question.id, question.text)]
    return (*words, prompt, strings[question.category], clip)


def _response(response: Response, verdicts: Sequence[Verdict], strings: _Strings) -> list[Any]:
    said = [[strings[one.judge], one.outcome, one.score, strings[one.reason]] for one in verdicts]
    text = strings[response.text]
    return [response.seed, response.sample, text, int(response.truncated), said]
