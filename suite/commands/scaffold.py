"""A skeleton of a plug-in package: one method, its config and its test, ready to be changed."""

from __future__ import annotations

import keyword
import re
from importlib import resources
from pathlib import Path
from string import Template

from greaves import __version__
from greaves.base.errors import GreavesError
from greaves.base.registry import registry

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")

TEMPLATES = {
    "pyproject.toml": "pyproject.toml",
    "README.md": "README.md",
    "src/$package/__init__.py": "package.py",
    "src/$package/$module.py": "method.py",
    "tests/test_$module.py": "test.py",
}
"""Path in the package -> file in `skeleton/`, without its ending `.tmpl`."""


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
        what = "there is something here already"
        raise GreavesError(what, where=str(folder), do="give another name or --dir")
    for path, text in _files(name).items():
        try:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")
        except OSError as error:
            raise GreavesError(f"cannot be written ({error.strerror})", where=str(folder)) from None
    return folder


def _check_name(name: str) -> None:
    if not NAME.fullmatch(name) or keyword.iskeyword(name):
        do = "use lower-case words joined by dashes, such as refusal-steering"
        raise GreavesError(f"{name!r} cannot be the name of a method", do=do)
    if name in registry("method").names():
        raise GreavesError(f"method {name!r} exists already", do="list them with: greaves methods")


def _files(name: str) -> dict[str, str]:
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
    skeleton = resources.files("greaves.commands") / "skeleton"
    return {
        Template(path).substitute(values): Template(
            (skeleton / f"{file}.tmpl").read_text(encoding="utf-8")
        ).substitute(values)
        for path, file in TEMPLATES.items()
    }
