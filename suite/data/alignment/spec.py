"""What is to be built: the fields of a recipe, from a YAML file, options, or both, checked once."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from greaves.base.errors import RecipeError
from greaves.base.yaml_lines import read_yaml

SetKind = Literal["basic", "mirror", "parallel"]

DATASET = "PKU-Alignment/BeaverTails"
REVISION = "8401fe609d288129cc684a9b3be6a93e41cfe678"
"""The dataset's last commit (October 2023)."""
SPLIT = "30k_train"

PER_CATEGORY = 50
"""Harmful questions of each of the 14 categories: 700 in all (RRS, section 4)."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class BeaverTailsSpec(_Strict):
    """BeaverTails, on the hub or in a folder.

    Attributes:
        origin: written `from` in the recipe.
        dataset: name on the hub, or a folder (a path that begins with "/", "." or "~").
        revision: on the hub.
        split: of the dataset.
        harmful_share: least share of unsafe responses that makes a question harmful.
    """

    origin: Annotated[Literal["beavertails"], Field(alias="from")] = "beavertails"
    dataset: Annotated[str, Field(min_length=1)] = DATASET
    revision: str = REVISION
    split: str = SPLIT
    harmful_share: Annotated[float, Field(gt=0, le=1)] = 0.5

    @property
    def local(self) -> bool:
        """Whether `dataset` is a folder."""
        return self.dataset.startswith(("/", ".", "~"))


class PocketSpec(_Strict):
    """The pocket grammar's training pairs."""

    origin: Annotated[Literal["pocket"], Field(alias="from")] = "pocket"


class ReleasedSpec(_Strict):
    """Files in the layout of the RRS authors: rows `{prompt, category, path}` and clips.

    Attributes:
        origin: written `from` in the recipe.
        folder: holds the files; no path may leave it.
        harmful: file of the harmful rows (JSON or JSON lines); "" to find it by its name.
        benign: file of the benign rows; "" to find it by its name.
        clips: sub-folder that the rows' paths start from.
        licence: what the files' owner says of their use.
    """

    origin: Annotated[Literal["released"], Field(alias="from")] = "released"
    folder: str
    harmful: str = ""
    benign: str = ""
    clips: str = ""
    licence: str = "not stated; ask the authors"


class RewriterSpec(_Strict):
    """Who rewrites (Mirror only).

    Attributes:
        endpoint: "embedded" (pocket grammar only) or the base URL of an OpenAI-compatible server.
        model: name of the model there.
        attempts: how often one question is tried.
        parallel: requests under way at the same time.
        timeout: seconds for one request.
    """

    endpoint: Annotated[str, Field(pattern=r"^(embedded|https?://\S+)$")] = "embedded"
    model: str = ""
    attempts: Annotated[int, Field(ge=1, le=20)] = 4
    parallel: Annotated[int, Field(ge=1, le=64)] = 4
    timeout: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 60.0

    @model_validator(mode="after")
    def _model_named(self) -> RewriterSpec:
        if self.endpoint != "embedded" and not self.model:
            raise ValueError("an endpoint needs the name of a model (--rewriter-model)")
        return self


class VoiceSpec(_Strict):
    """Who speaks.

    Attributes:
        engine: espeak (embedded) or google.
        endpoint: `host:port` of another server of Google's service; "" for Google's own.
        parallel: requests under way at the same time (google).
        patience: seconds for which a request is tried again (google).
    """

    engine: Literal["espeak", "google"] = "espeak"
    endpoint: str = ""
    parallel: Annotated[int, Field(ge=1, le=64)] = 4
    patience: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 120.0


class BuildSpec(_Strict):
    """One set to build.

    Attributes:
        kind: basic, mirror or parallel.
        seed: of every choice.
        per_category: harmful questions of each category; as many benign ones in all.
        source: where the texts come from.
        mirror: Parallel only: a built Mirror set, or "pocket", whose harmful questions and clips
            are taken over; "" to draw them from the source.
        rewriter: who rewrites.
        voice: who speaks.
    """

    kind: SetKind
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    per_category: Annotated[int, Field(ge=1)] = PER_CATEGORY
    source: Annotated[
        BeaverTailsSpec | PocketSpec | ReleasedSpec, Field(discriminator="origin")
    ] = BeaverTailsSpec()
    mirror: str = ""
    rewriter: RewriterSpec = RewriterSpec()
    voice: VoiceSpec = VoiceSpec()

    @model_validator(mode="after")
    def _fits(self) -> BuildSpec:
        if self.mirror and self.kind != "parallel":
            raise ValueError("`mirror` is for a parallel set")
        if self.mirror and self.source.origin == "released":
            raise ValueError("released files bring their own harmful questions: leave out `mirror`")
        return self

    @property
    def from_files(self) -> bool:
        """Whether questions come with clips, from files that may change between two builds."""
        return bool(self.mirror) or self.source.origin == "released"

    def identity(self) -> dict[str, Any]:
        """All that decides what is in the set; not how fast, or through which address.

        Folders count by their name: where they lie does not matter.
        """
        identity = self.model_dump(mode="json", include={"kind", "seed", "per_category", "source"})
        source = identity["source"]
        for name in source.keys() & {"dataset", "folder"}:
            source[name] = _name_of(source[name])
        if self.source.origin != "released":
            identity["voice"] = self.voice.engine
        if self.kind == "mirror" and self.source.origin != "released":
            identity["rewriter"] = self.rewriter.model or self.rewriter.endpoint
        if self.mirror:
            identity["mirror"] = _name_of(self.mirror)
        return identity


def _name_of(name: str) -> str:
    return Path(name).name if name.startswith(("/", ".", "~")) else name


_VARIANTS = ("beavertails", "pocket", "released")


def read_spec(path: Path | None, options: dict[str, Any]) -> BuildSpec:
    """A recipe file with the command line's options laid over it.

    Args:
        path: YAML; its folders are relative to it. None for options alone.
        options: fields, nested as in the recipe; folders are relative to the working folder.

    Raises:
        RecipeError: not YAML, or a field is unknown or wrong; names file and field.
    """
    content = _anchored(read_yaml(path)[1], path.parent) if path else {}
    where = str(path) if path else "options"
    merged = _laid_over(content, _anchored(options, Path.cwd()))
    source = merged.setdefault("source", {})
    if isinstance(source, dict):
        source.setdefault("from", "beavertails")
    try:
        return BuildSpec.model_validate(merged)
    except ValidationError as error:
        raise _in_words(error, where) from None


def _anchored(content: dict[str, Any], base: Path) -> dict[str, Any]:
    """Relative folders become absolute."""

    def anchored(name: Any) -> Any:
        return str((base / Path(name).expanduser()).resolve()) if isinstance(name, str) else name

    source = content.get("source")
    if isinstance(source, dict):
        source = dict(source)
        dataset = source.get("dataset")
        if isinstance(dataset, str) and dataset.startswith((".", "~")):
            source["dataset"] = anchored(dataset)
        if source.get("folder"):
            source["folder"] = anchored(source["folder"])
        content = {**content, "source": source}
    mirror = content.get("mirror")
    if isinstance(mirror, str) and mirror and Path(mirror).parts[:1] != ("pocket",):
        content = {**content, "mirror": anchored(mirror)}
    return content


def _laid_over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for name, value in above.items():
        under = merged.get(name)
        both = isinstance(value, dict) and isinstance(under, dict)
        merged[name] = _laid_over(under, value) if both and under is not None else value
    return merged


def _in_words(error: ValidationError, where: str) -> RecipeError:
    first = error.errors()[0]
    place = [str(part) for part in first["loc"] if part not in _VARIANTS]
    what, do = first["msg"].removeprefix("Value error, "), ""
    if first["type"] == "extra_forbidden":
        what = f"unknown field {place[-1]!r}"
        forms = (BuildSpec, BeaverTailsSpec, ReleasedSpec, RewriterSpec, VoiceSpec)
        known = {name for form in forms for name in form.model_fields} - {"origin"}
        near = difflib.get_close_matches(place[-1], sorted(known), n=1)
        do = f"did you mean {near[0]!r}?" if near else "see docs/alignment-data.md"
    elif first["type"] == "missing":
        what = f"field {place[-1]!r} is missing"
    field = ".".join(place)
    return RecipeError(
        what[0].lower() + what[1:], where=f"{where}: {field}" if field else where, do=do
    )
