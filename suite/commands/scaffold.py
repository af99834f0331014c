"""A skeleton of a plug-in package: one method, its config and its test, ready to be changed."""

from __future__ import annotations

import keyword
import re
from pathlib import Path
from string import Template

from greaves import __version__
from greaves.base.errors import GreavesError
from greaves.base.registry import registry

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")

PROJECT = """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "greaves-$name"
version = "0.1.0"
description = "The alignment method $name for Greaves"
requires-python = ">=3.11"
dependencies = ["greaves>=$version"]

[project.optional-dependencies]
test = ["pytest"]

[project.entry-points."greaves.methods"]
$name = "$package.$module:$aligner"

[tool.setuptools.packages.find]
where = ["src"]
"""

README = """\
# $name

An alignment method for Greaves, all in `src/$package/$module.py`.

    pip install --editable '.[test]'    # the entry point in pyproject.toml registers the method
    greaves methods                     # lists it
    pytest                              # its test, on the embedded pocket model

In a recipe it stands beside any other:

    methods:
      - vanilla
      - method: $name
        config: {style: check}
"""

PACKAGE = '''\
"""The alignment method $name for Greaves."""
'''

METHOD = '''\
"""$name: what it does to a model, and where it is written up."""

from __future__ import annotations

from typing import Literal

from greaves import LALM, AlignmentMethod, Defence, MethodConfig, Requirements
from greaves.align.method import RunContext
from greaves.align.parts.system_prompt import SystemPrompt
from greaves.data.alignment.sets import AlignmentData

REFUSE = "You are a safe assistant. Refuse questions that violate safety policy."
CHECK = "Before answering, check whether the question is safe. If it is not safe, refuse."


class $config(MethodConfig):
    """Config of `$name`; recipes give it under `config:`, and a misspelt field is an error.

    Attributes:
        style: "refuse" tells the model what to do, "check" tells it to think first.
    """

    style: Literal["refuse", "check"] = "refuse"


class $aligner(AlignmentMethod[$config]):
    """A system prompt against harmful questions."""  # `greaves methods` shows this line

    version = "1"  # raise it whenever the same config would give another defence
    Config = $config
    requires = Requirements()  # e.g. Requirements(data="mirror", gradients=True) to train

    def align(self, model: LALM, data: AlignmentData | None, context: RunContext) -> Defence:
        """Make the defence; `model` is left as it was.

        Look into it with `model.representations(...)`, train an adapter with
        `greaves.align.training.fine_tuning.fine_tune(...)`, draw random numbers from
        `context.seed`, keep what a killed run should find again in `context.folder`.
        """
        return Defence((SystemPrompt(REFUSE if self.config.style == "refuse" else CHECK),))
'''

TEST = '''\
"""$name keeps the contract of an alignment method, on the embedded pocket model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from $package.$module import $aligner, $config

import greaves

TURN = greaves.Conversation(text="The audio content is: How do I paint the fence?")


def test_its_name_is_known() -> None:  # by the entry point: pip install --editable . first
    defence = greaves.align(greaves.load_model("pocket"), "$name")
    assert defence.provenance["config"] == $config().model_dump()


def test_a_misspelt_field_is_refused() -> None:
    with pytest.raises(ValueError, match="styl"):
        $config.model_validate({"styl": "check"})


@pytest.mark.parametrize("style", ["refuse", "check"])
def test_its_defence_is_saved_attached_and_taken_off_again(style: str, tmp_path: Path) -> None:
    model = greaves.load_model("pocket")
    before = model.representations([TURN])
    method = $aligner($config.model_validate({"style": style}))
    greaves.align(model, method).save(tmp_path / "saved")
    with greaves.Defence.load(tmp_path / "saved").attached(model) as defended:
        assert not torch.equal(defended.representations([TURN]), before)
        [[answer]] = defended.respond([TURN], greaves.Sampling(max_new_tokens=8), [[0]])
    assert isinstance(answer.text, str)
    assert torch.equal(model.representations([TURN]), before)
'''


def write_method(name: str, parent: Path) -> Path:
    """Write the package of a new method.

    Args:
        name: name of the method: lower-case words of letters and digits, joined by dashes.
        parent: the folder to put the package's own folder in; made if it is not there.

    Returns:
        The package's folder, `parent/name`.

    Raises:
        GreavesError: the name cannot be used or is taken, or the folder exists or cannot be
            written.
    """
    _check_name(name)
    folder = parent / name
    if folder.exists():
        raise GreavesError(
            "there is something here already", where=str(folder), do="give another name or --dir"
        )
    for path, text in _files(name).items():
        try:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")
        except OSError as error:
            raise GreavesError(f"cannot be written ({error.strerror})", where=str(folder)) from None
    return folder


def _check_name(name: str) -> None:
    if not NAME.fullmatch(name) or keyword.iskeyword(name):
        raise GreavesError(
            f"{name!r} cannot be the name of a method",
            do="use lower-case words joined by dashes, such as refusal-steering",
        )
    if name in registry("method").names():
        raise GreavesError(f"method {name!r} exists already", do="list them with: greaves methods")


def _files(name: str) -> dict[str, str]:
    """Path in the package -> text."""
    module = name.replace("-", "_")
    words = "".join(word.capitalize() for word in name.split("-"))
    values = {
        "name": name,
        "version": __version__,
        "package": f"greaves_{module}",
        "module": module,
        "aligner": f"{words}Aligner",
        "config": f"{words}AlignerConfig",
    }
    texts = {
        "pyproject.toml": PROJECT,
        "README.md": README,
        "src/$package/__init__.py": PACKAGE,
        "src/$package/$module.py": METHOD,
        "tests/test_$module.py": TEST,
    }
    return {
        Template(path).substitute(values): Template(text).substitute(values)
        for path, text in texts.items()
    }
