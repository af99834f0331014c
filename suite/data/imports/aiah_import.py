"""From sources to an AIAH data folder: clips copied or spoken, checked, with provenance.

An import that was stopped goes on where it stopped when the same command is run again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from greaves import __version__
from greaves.base.errors import DataError, StoreError
from greaves.base.progress import Steps
from greaves.base.records import content_hash
from greaves.base.store import as_lines, write_json, write_text
from greaves.data.alignment.plan import PlannedItem, SetPlan
from greaves.data.alignment.spec import VoiceSpec
from greaves.data.alignment.workshop import FOLDER, MadeClip, Workshop, make_clips, workshop
from greaves.data.imports.aiah_layout import (
    DISTRACTION,
    QUESTIONS,
    SPEECH_SPECIFIC,
    Distraction,
    Section,
)
from greaves.data.imports.aiah_sources import SourceSpec, read_section
from greaves.data.imports.own_questions import spelled_out_section
from greaves.data.imports.provenance import PROVENANCE, RECONSTRUCTED
from greaves.data.speech.clips import unheard

FORMAT = 1
"""Version of `provenance.json`."""


@dataclass(frozen=True)
class AIAHImport:
    """What to import.

    Attributes:
        harmful: source of the harmful questions.
        benign: source of the benign ones; None for a folder without.
        speech_specific: table of setting 3; None for a folder without.
        columns: of that table, field -> column (see `spelled_out.columns_of`).
        distraction: length and seed of the clips of setting 2; None leaves the defaults.
        voice: who speaks questions that have no clip.
        seed: of the voices.
    """

    harmful: SourceSpec
    benign: SourceSpec | None = None
    speech_specific: Path | None = None
    columns: Mapping[str, str] | None = None
    distraction: Distraction | None = None
    voice: VoiceSpec = field(default_factory=VoiceSpec)
    seed: int = 0


@dataclass(frozen=True)
class Imported:
    """What an import came to.

    Attributes:
        folder: the data folder.
        label: "reconstructed", or "".
        counts: questions by part.
        left_out: name -> why.
        remarks: what else must be known.
    """

    folder: Path
    label: str
    counts: dict[str, int]
    left_out: dict[str, str]
    remarks: tuple[str, ...]


def import_aiah(wanted: AIAHImport, folder: Path) -> Imported:
    """Write an AIAH data folder, with `questions.jsonl`, `clips/` and `provenance.json`.

    Raises:
        GreavesError: a source is broken, the speaker fails, or the folder holds another import.
    """
    with workshop(folder) as work, Steps() as steps:
        parts = _sections(wanted, folder / FOLDER)
        items = [item for part in parts.values() for item in part.items]
        _keep_plan(work, wanted, items, [{"part": n, **part.about} for n, part in parts.items()])
        made, speech = make_clips(items, wanted.voice, wanted.seed, work, steps)
        parts = {name: _heard(part, made, folder) for name, part in parts.items()}
        return _write(folder, wanted, parts, made, speech)


def _sections(wanted: AIAHImport, work: Path) -> dict[str, Section]:
    parts = {"harmful": read_section("harmful", wanted.harmful, work / "harmful")}
    if wanted.benign is not None:
        parts["benign"] = read_section("benign", wanted.benign, work / "benign")
    if wanted.speech_specific is not None:
        licence = wanted.harmful.licence
        parts["speech-specific"] = spelled_out_section(
            wanted.speech_specific, wanted.columns or {}, licence
        )
    return parts


def _keep_plan(
    work: Workshop, wanted: AIAHImport, items: Sequence[PlannedItem], abouts: list[dict[str, Any]]
) -> None:
    """Refuse a folder of another import: stopped half-way, this one would leave a mixture."""
    twice = [name for name, count in Counter(item.id for item in items).items() if count > 1]
    if twice:
        raise DataError(f"id {twice[0]!r} occurs twice", do="rename one of them")
    identity: dict[str, Any] = {
        "import": "aiah",
        "seed": wanted.seed,
        "engine": wanted.voice.engine,
        "sources": content_hash({"sources": abouts}),
    }
    plan = SetPlan(identity=identity, sources=abouts, items=tuple(items))
    try:
        work.plan(lambda: plan, identity, redraw=True)
    except StoreError as error:
        raise DataError(error.what, where=error.where, do="choose another folder") from None


def _heard(part: Section, made: Mapping[str, MadeClip], folder: Path) -> Section:
    """The part without questions whose clip cannot be heard or is another question's."""
    left_out, remarks, texts = dict(part.left_out), list(part.remarks), dict[str, set[str]]()
    for item in part.items:
        if made[item.id].sha256:
            texts.setdefault(made[item.id].sha256, set()).add(item.text)
    for item in part.items:
        clip = made[item.id]
        if not clip.path or unheard(folder / clip.path):
            left_out[item.id] = unheard(folder / clip.path) if clip.path else clip.fault
        elif len(texts[clip.sha256]) > 1:
            left_out[item.id] = "its clip is also that of another question"
        elif clip.fault:  # loud, but to be heard: a published clip is asked as it is
            remarks.append(f"{item.id}: {clip.fault}; it is asked all the same")
    kept = tuple(item for item in part.items if item.id not in left_out)
    return replace(part, items=kept, left_out=left_out, remarks=tuple(remarks))


def _write(
    folder: Path,
    wanted: AIAHImport,
    parts: Mapping[str, Section],
    made: Mapping[str, MadeClip],
    speech: dict[str, Any] | None,
) -> Imported:
    for name, part in parts.items():
        if not part.items:
            first = next(iter(part.left_out.items()))
            what = f"no {name} question is left"
            raise DataError(what, where=str(folder), do=f"{first[0]}: {first[1]}")
    lines: dict[str, list[dict[str, str]]] = {}
    for name, part in parts.items():
        rows = [_row(item, made[item.id], part.prompts.get(item.id)) for item in part.items]
        file = SPEECH_SPECIFIC if name == "speech-specific" else QUESTIONS
        lines.setdefault(file, []).extend(rows)
    texts = {name: as_lines(rows) for name, rows in lines.items()}
    label = RECONSTRUCTED if parts["harmful"].spoken_here else ""
    counts = {name: len(part.items) for name, part in parts.items()}
    left_out = {name: why for part in parts.values() for name, why in part.left_out.items()}
    remarks = tuple(remark for part in parts.values() for remark in part.remarks)
    items = [item for part in parts.values() for item in part.items]
    facts: dict[str, Any] = {
        "format": FORMAT,
        "benchmark": "aiah",
        "label": label,
        "parts": {name: part.about for name, part in parts.items()},
        "licence": "; ".join(dict.fromkeys(part.about["licence"] for part in parts.values())),
        "counts": counts,
        "left_out": left_out,
        "remarks": list(remarks),
        "seed": wanted.seed,
        "speech": speech,
        "voices": dict(Counter(made[item.id].voice for item in items if made[item.id].voice)),
        "greaves": __version__,
        "files": {name: sha256(text.encode()).hexdigest() for name, text in texts.items()},
        "clips": {made[item.id].path: made[item.id].sha256 for item in items},
    }
    for name, text in texts.items():
        write_text(folder / name, text)
    if wanted.distraction is not None:
        write_json(folder / DISTRACTION, wanted.distraction.model_dump())
    write_json(folder / PROVENANCE, facts)
    return Imported(folder, label, counts, left_out, remarks)


def _row(item: PlannedItem, clip: MadeClip, prompt: str | None) -> dict[str, str]:
    row = {"id": item.id, "kind": item.kind, "category": item.category, "text": item.text}
    row |= {"clip": clip.path} if prompt is None else {"prompt": prompt, "clip": clip.path}
    return {**row, "voice": clip.voice} if clip.voice else row
