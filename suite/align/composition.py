"""Compositions: several methods as one, written `rrs + system-prompt` in a recipe.

Each method is aligned on the vanilla model, in the order in which they are named, and their parts
are put on together. A composition is an alignment method like any other: its config holds one
config per method, its requirements are those of all of them, and its version names theirs.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, ClassVar

from pydantic import Field, create_model

from greaves.align.defence import Defence
from greaves.align.method import METHODS, AlignmentMethod, MethodConfig, Requirements, RunContext
from greaves.align.part import Part
from greaves.base.errors import RegistryError
from greaves.data.alignment.sets import AlignmentData
from greaves.models.contract import LALM

JOINT = "+"


def canonical(name: str) -> str:
    """The name without the blanks around its joints: `rrs+system-prompt`."""
    return re.sub(rf"\s*{re.escape(JOINT)}\s*", JOINT, name.strip())


def find_method(name: str) -> type[AlignmentMethod[Any]]:
    """A registered method, or the composition that `name` spells.

    Raises:
        RegistryError: a name is unknown, named twice or missing, or the methods do not go together.
    """
    if JOINT not in name:
        return METHODS.get(name)
    names = canonical(name).split(JOINT)
    if "" in names:
        raise RegistryError(f"a method is missing in {name!r}", do="write: one method + another")
    if twice := [one for place, one in enumerate(names) if one in names[:place]]:
        raise RegistryError(f"{twice[0]!r} occurs twice in {name!r}", do="leave one out")
    return composition({one: _component(one, name) for one in names})


def _component(one: str, name: str) -> type[AlignmentMethod[Any]]:
    try:
        return METHODS.get(one)
    except RegistryError as error:
        raise RegistryError(f"{error.what} in {name!r}", do=error.do) from None


def composition(methods: dict[str, type[AlignmentMethod[Any]]]) -> type[AlignmentMethod[Any]]:
    """The method that is several methods.

    Args:
        methods: name -> method, in the order in which they are aligned and put on.

    Returns:
        A method whose config has one field per component, named like it, each with that component's
        own config; left out, the component has its defaults.

    Raises:
        RegistryError: they need different alignment data, or more than one of them puts an adapter
            on, which no order makes work.
    """
    joined = JOINT.join(methods)
    needed = _requirements(joined, methods)
    versions = JOINT.join(method.version for method in methods.values())
    fields: dict[str, Any] = {
        name: (one.Config, Field(default_factory=one.Config)) for name, one in methods.items()
    }
    form = create_model("CompositionConfig", __base__=MethodConfig, **fields)

    class Composition(AlignmentMethod[MethodConfig]):
        """Several methods, each aligned on the vanilla model, put on together."""

        version: ClassVar[str] = versions
        Config = form
        requires: ClassVar[Requirements] = needed

        def align(self, model: LALM, data: AlignmentData | None, context: RunContext) -> Defence:
            """Align each method in a folder of its own; all get the same seed."""
            parts: list[Part] = []
            notes: dict[str, Any] = {}
            for name, method in methods.items():
                own = replace(context, folder=context.folder / name)
                own.folder.mkdir(parents=True, exist_ok=True)
                wanted = data if method.requires.data else None
                defence = method(getattr(self.config, name)).align(model, wanted, own)
                parts += defence.parts
                notes[name] = defence.notes or {}
            return Defence(tuple(parts), notes)

    return Composition


def _requirements(joined: str, methods: dict[str, type[AlignmentMethod[Any]]]) -> Requirements:
    """What all of them need together."""
    every = {name: method.requires for name, method in methods.items()}
    data = {needs.data: name for name, needs in every.items() if needs.data}
    if len(data) > 1:
        both = " and ".join(f"{name} needs {kind}" for kind, name in data.items())
        what = f"the methods of {joined!r} need different alignment data: {both}"
        raise RegistryError(what, do="compose methods that share theirs")
    adapted = [name for name, needs in every.items() if "adapters" in needs.acts_on]
    if len(adapted) > 1:
        what = f"{' and '.join(adapted)} in {joined!r} each put an adapter on; a model takes one"
        raise RegistryError(what, do="keep one of them")
    return Requirements(
        data=next(iter(data), None),
        weights=any(needs.weights for needs in every.values()),
        gradients=any(needs.gradients for needs in every.values()),
        points=frozenset().union(*(needs.points for needs in every.values())),
    )
