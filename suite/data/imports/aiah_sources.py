"""Where AIAH's questions can come from, by layout.

| layout | is | kinds |
|---|---|---|
| authors | the authors' folder: clips called by topic and number | harmful |
| hub | the hub copy `garak-llm/audio_achilles_heel` | harmful |
| sarsteer | SARSteer's `figstep_audio` or `figstep_audio_safe` | harmful, benign |
| safebench | FigStep's `SafeBench.csv`, to be spoken | harmful |
| greaves | our own `questions.jsonl` | harmful, benign |
| texts | your own questions, to be spoken unless they have clips | benign |
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from greaves.base.errors import DataError
from greaves.data.alignment.plan import PlannedItem
from greaves.data.imports.aiah_layout import QUESTIONS, TOPICS, same_topic
from greaves.data.imports.hub_copy import HUB, clips_of, hub_folder
from greaves.data.imports.named_clips import LIST, find_clips, named_part, other_topics, uneven
from greaves.data.imports.own_questions import greaves_part, texts_part
from greaves.data.imports.part import Part
from greaves.data.imports.question_texts import Place, Texts, read_texts

HARMFUL_LAYOUTS = ("authors", "hub", "sarsteer", "safebench", "greaves")
BENIGN_LAYOUTS = ("sarsteer", "greaves", "texts")

FIGSTEP = "questions of FigStep's SafeBench: MIT"
LICENCES = {
    "authors": f"given out by AIAH's authors on request: their terms; {FIGSTEP}",
    "hub": f"of the hub copy: see its page; {FIGSTEP}",
    "sarsteer": f"SARSteer's repository: MIT; {FIGSTEP}",
    "safebench": FIGSTEP,
}
"""What is known without the files; `--licence` replaces it."""


@dataclass(frozen=True)
class SourceSpec:
    """A source of questions as the command line names it.

    Attributes:
        source: a folder, a file, or `hub:OWNER/NAME@REVISION`.
        layout: one of the layouts above, or "auto" where the files leave no doubt.
        texts: file with the questions in words, where the clips come without.
        clips: sub-folder with the clips; "" to search the whole folder.
        topics: that enter; AIAH's seven by default.
        licence: replaces what is known of it.
    """

    source: str
    layout: str = "auto"
    texts: Path | None = None
    clips: str = ""
    topics: tuple[str, ...] = TOPICS
    licence: str = ""

    @property
    def path(self) -> Path:
        """The source as a path."""
        return Path(self.source).expanduser()


def read_part(kind: Literal["harmful", "benign"], spec: SourceSpec, work: Path) -> Part:
    """Questions of one kind from a source.

    Args:
        kind: harmful or benign.
        spec: where they lie.
        work: folder for clips that have to be unpacked.

    Raises:
        DataError: the layout is unknown, cannot be told or has no such questions; files are broken.
    """
    layout = _layout(kind, spec)
    if layout == "greaves":
        part = greaves_part(kind, spec.path, spec.licence)
    elif layout == "texts":
        part = texts_part(spec.path, spec.licence)
    elif layout == "safebench":
        part = _safebench(spec)
    else:
        part = _named(kind, layout, spec, work)
    if not part.items:
        reason = next(iter(part.left_out.items()), ("nothing", "was found"))
        raise DataError(
            f"no {kind} questions ({reason[0]}: {reason[1]})", where=spec.source, do="check --topic"
        )
    return part


def _layout(kind: str, spec: SourceSpec) -> str:
    layouts = HARMFUL_LAYOUTS if kind == "harmful" else BENIGN_LAYOUTS
    option = "--layout" if kind == "harmful" else "--benign-layout"
    if spec.layout != "auto":
        if spec.layout not in layouts:
            raise DataError(
                f"{spec.layout[:40]!r} is no layout of {kind} questions",
                where=option,
                do=f"choose one of {', '.join(layouts)}",
            )
        return spec.layout
    path, found = spec.path, ""
    if spec.source.startswith(HUB) or (path.is_dir() and any(path.rglob("*.parquet"))):
        found = "hub"
    elif (path / QUESTIONS).is_file():
        found = "greaves"
    elif path.suffix.lower() == ".csv":
        found = "safebench"
    elif path.suffix.lower() in (".txt", ".jsonl"):
        found = "texts"
    elif kind == "benign" and (path / LIST).is_file():
        found = "sarsteer"
    if found in layouts:
        return found
    if not path.exists():
        raise DataError("there is no such file or folder", where=spec.source)
    raise DataError(
        "whose files these are cannot be told from their names",
        where=spec.source,
        do=f"say it: {option} {'|'.join(layouts)}",
    )


def _named(kind: Literal["harmful", "benign"], layout: str, spec: SourceSpec, work: Path) -> Part:
    folder, about = spec.path, _source(spec)
    if layout == "hub":
        folder, about = hub_folder(spec.source, work / "fetched")
    inner = folder / spec.clips if spec.clips else folder
    if layout == "hub":
        inner = clips_of(inner, work / "unpacked")
    clips, strangers = find_clips(inner)
    texts, files = _texts(layout, spec, folder)
    about = {
        "layout": layout,
        **about,
        "topics": list(spec.topics),
        "files": files,
        "licence": spec.licence or LICENCES[layout],
    }
    remarks = []
    if strangers:
        remarks.append(f"sound files not called by topic and number: {', '.join(strangers)}")
    remarks += [
        f"{name} writes blanks as hyphens: real hyphens are lost"
        for name in files
        if name.endswith(".txt")
    ]
    return named_part(
        kind,
        clips,
        texts,
        spec.topics,
        about,
        remarks=remarks,
        # Whether the clips of figstep_audio are those of AIAH is not told anywhere.
        spoken_here=layout == "sarsteer",
    )


def _source(spec: SourceSpec) -> dict[str, Any]:
    return {"source": spec.path.resolve().name}


def _texts(layout: str, spec: SourceSpec, folder: Path) -> tuple[Texts, dict[str, str]]:
    """Questions in words, and the files they were read from with their hashes."""
    paths = [spec.texts] if spec.texts else [folder / LIST]
    if not spec.texts and not paths[0].is_file():
        splits = [*folder.glob("train_*.json"), *folder.glob("test_*.json")]
        paths = sorted(splits) if layout == "sarsteer" else []
    if not paths:
        raise DataError(
            "the clips come without their questions in words",
            where=str(folder),
            do="give them: --texts SafeBench.csv (FigStep's repository), or a list of clips",
        )
    read = [(path, read_texts(path)) for path in paths]
    questions = tuple(question for _, one in read for question in one.questions)
    return Texts(questions, ""), {path.name: one.sha256 for path, one in read}


def _safebench(spec: SourceSpec) -> Part:
    texts = read_texts(spec.path)
    order = {same_topic(topic): topic for topic in spec.topics}
    rank = {key: number for number, key in enumerate(order)}
    wanted = [(place, text) for place, text in texts.questions if place.key[0] in order]
    wanted.sort(key=lambda one: (rank[one[0].key[0]], one[0].number))
    items = tuple(
        PlannedItem(
            id=Place(order[place.key[0]], place.number).name,
            kind="harmful",
            category=order[place.key[0]],
            text=text,
        )
        for place, text in wanted
    )
    others = Counter(place.topic for place, _ in texts.questions if place.key[0] not in order)
    about = {
        "layout": "safebench",
        **_source(spec),
        "topics": list(spec.topics),
        "files": {spec.path.name: texts.sha256},
        "licence": spec.licence or LICENCES["safebench"],
    }
    remarks = (*other_topics(others), *uneven("harmful", items, spec.topics))
    return Part(items, about, remarks=remarks, spoken_here=True)
