"""Where AIAH's questions can come from, by layout.

| layout | is | kinds |
|---|---|---|
| authors | the authors' folder: clips called by topic and number | harmful |
| hub | the hub copy `garak-llm/audio_achilles_heel` | harmful |
| sarsteer | SARSteer's `figstep_audio` or `figstep_audio_safe` | harmful, benign |
| safebench | FigStep's SafeBench (CSV or Parquet), to be spoken | harmful |
| greaves | our own `questions.jsonl` | harmful, benign |
| texts | your own questions, to be spoken unless they have clips | benign |
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from greaves.base.errors import DataError
from greaves.data.imports.aiah_layout import QUESTIONS, TOPICS, Kind, Section
from greaves.data.imports.numbered_questions import (
    HUB,
    LIST,
    Texts,
    clips_of,
    find_clips,
    hub_folder,
    numbered_section,
    read_texts,
)
from greaves.data.imports.own_questions import greaves_section, texts_section

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


def read_section(kind: Kind, spec: SourceSpec, work: Path) -> Section:
    """Questions of one kind from a source.

    Clips that have to be unpacked go to the folder `work`.

    Raises:
        DataError: the layout is unknown, cannot be told or has no such questions; files are broken.
    """
    layout = _layout(kind, spec)
    if layout == "greaves":
        section = greaves_section(kind, spec.path, spec.licence)
    elif layout == "texts":
        section = texts_section(spec.path, spec.licence)
    else:
        section = _numbered(kind, layout, spec, work)
    if not section.items:
        reason = next(iter(section.left_out.items()), ("nothing", "was found"))
        what = f"no {kind} questions ({reason[0]}: {reason[1]})"
        raise DataError(what, where=spec.source, do="check --topic")
    return section


def _layout(kind: Kind, spec: SourceSpec) -> str:
    layouts = HARMFUL_LAYOUTS if kind == "harmful" else BENIGN_LAYOUTS
    option = "--layout" if kind == "harmful" else "--benign-layout"
    if spec.layout in layouts:
        return spec.layout
    if spec.layout != "auto":
        what = f"{spec.layout[:40]!r} is not a layout of {kind} questions"
        raise DataError(what, where=option, do=f"choose one of {', '.join(layouts)}")
    path, found = spec.path, ""
    if spec.source.startswith(HUB) or (path.is_dir() and any(path.rglob("*.parquet"))):
        found = "hub"
    elif (path / QUESTIONS).is_file():
        found = "greaves"
    elif path.suffix.lower() in (".csv", ".parquet"):
        found = "safebench"
    elif path.suffix.lower() in (".txt", ".jsonl"):
        found = "texts"
    elif kind == "benign" and (path / LIST).is_file():
        found = "sarsteer"
    if found in layouts:
        return found
    if not path.exists():
        raise DataError("there is no such file or folder", where=spec.source)
    what = "whose files these are cannot be told from their names"
    raise DataError(what, where=spec.source, do=f"say it: {option} {'|'.join(layouts)}")


def _numbered(kind: Kind, layout: str, spec: SourceSpec, work: Path) -> Section:
    folder = spec.path
    about: dict[str, Any] = {"source": folder.resolve().name}
    clips, remarks = None, list[str]()
    if layout == "safebench":
        texts = read_texts(spec.path)
    else:
        if layout == "hub":
            folder, about = hub_folder(spec.source, work / "fetched")
        inner = folder / spec.clips if spec.clips else folder
        clips, strangers = find_clips(
            clips_of(inner, work / "unpacked") if layout == "hub" else inner
        )
        texts = _texts(layout, spec, folder)
        if strangers:
            remarks.append(f"sound files not called by topic and number: {', '.join(strangers)}")
        lists = [name for name in texts.files if name.endswith(".txt")]
        remarks += [f"{name} writes blanks as hyphens: real hyphens are lost" for name in lists]
    about = {"layout": layout, **about, "topics": list(spec.topics), "files": texts.files}
    about["licence"] = spec.licence or LICENCES[layout]
    # Whether the clips of figstep_audio are those of AIAH is not told anywhere.
    ours = layout in ("safebench", "sarsteer")
    return numbered_section(kind, clips, texts, spec.topics, about, remarks, spoken_here=ours)


def _texts(layout: str, spec: SourceSpec, folder: Path) -> Texts:
    paths = [spec.texts or folder / LIST]
    if not spec.texts and not paths[0].is_file():
        splits = [*folder.glob("train_*.json"), *folder.glob("test_*.json")]
        paths = sorted(splits) if layout == "sarsteer" else []
    if not paths:
        do = "give them: --texts SafeBench.csv (FigStep's repository), or a list of clips"
        raise DataError("the clips come without their questions in words", where=str(folder), do=do)
    return read_texts(*paths)
