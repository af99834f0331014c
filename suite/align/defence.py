"""A defence: what a method leaves behind and what a user ships.

A defence is a list of parts - a LoRA adapter, a system prompt - so that methods compose. Saved, it
is a folder: `defence.json` with its provenance, and one sub-folder a part.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from greaves.align.part import Part, find_part
from greaves.base.errors import DataError, RegistryError
from greaves.base.records import content_hash
from greaves.base.store import new_folder, write_json
from greaves.models.contract import LALM


@dataclass(frozen=True)
class Defence:
    """What a method leaves behind; no parts at all for vanilla.

    Attributes:
        parts: put on in order, taken off in reverse.
        notes: figures of the alignment that are worth keeping (losses, norms); they do not enter
            the hash.
        provenance: how it was made, as `defence.json` has it; None where nobody said.
    """

    parts: tuple[Part, ...] = ()
    notes: dict[str, Any] | None = None
    provenance: dict[str, Any] | None = field(default=None, compare=False)

    @property
    def hash(self) -> str:
        """Hash of what the defence does to a model."""
        return content_hash({"parts": [[part.kind, part.content_hash()] for part in self.parts]})

    @contextmanager
    def attached(self, model: LALM) -> Iterator[LALM]:
        """Put the parts on `model` in order; leaving the context restores the model exactly.

        Yields:
            The model that is to be asked: what the last part yields.

        Raises:
            ModelError: the model does not offer a point at which a part acts.

        Example:
            >>> with Defence.load(folder).attached(model) as defended:  # doctest: +SKIP
            ...     defended.respond(conversations, sampling, seeds)
        """
        with ExitStack() as stack:
            for part in self.parts:
                model = stack.enter_context(part.attached(model))
            yield model

    def save(
        self,
        folder: str | Path,
        provenance: Mapping[str, Any] | None = None,
        epochs: Mapping[int, Defence] | None = None,
    ) -> None:
        """Write the folder in one step: it is there whole, or not at all.

        Args:
            folder: replaced if it is there.
            provenance: facts for `defence.json` beside the defence's own.
            epochs: earlier states of this defence, saved beside it as `epochs/<epoch>`.
        """
        folder, provenance = Path(folder), {**(self.provenance or {}), **(provenance or {})}
        kinds, notes = [part.kind for part in self.parts], self.notes or {}
        content = {"hash": self.hash, "parts": kinds, "notes": notes, **provenance}
        with new_folder(folder) as partial:
            for number, part in enumerate(self.parts):
                place = partial / f"{number}-{part.kind}"
                place.mkdir()
                part.save(place)
            for epoch, earlier in (epochs or {}).items():
                earlier.save(partial / "epochs" / str(epoch), {**provenance, "epoch": epoch})
            write_json(partial / "defence.json", content)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read a defence back.

        Raises:
            DataError: the folder holds none, one of an unknown kind, or one that was changed.
        """
        folder = Path(folder)
        where = str(folder / "defence.json")
        try:
            content = json.loads(Path(where).read_text(encoding="utf-8"))
            kinds: list[str] = content["parts"]
            parts = tuple(find_part(k).load(folder / f"{n}-{k}") for n, k in enumerate(kinds))
            made = {k: v for k, v in content.items() if k not in ("hash", "parts", "notes")}
            defence = cls(parts, content["notes"], made)
            intact = defence.hash == content["hash"]
        except (TypeError, AttributeError):
            raise DataError("not the facts of a defence", where=where, do="align again") from None
        except KeyError as error:
            raise DataError(f"missing field {error}", where=where) from None
        except RegistryError as error:
            raise DataError(error.what, where=where, do=error.do) from None
        except (OSError, ValueError, RecursionError) as error:
            raise DataError(f"no defence can be read here ({error})", where=where) from None
        if not intact:
            raise DataError("the defence does not match its hash", where=where, do="align again")
        return defence
