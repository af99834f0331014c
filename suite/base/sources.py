"""What a module says of itself, read from its source: nothing is imported but its packages."""

from __future__ import annotations

import ast
import functools
import importlib.util
from collections.abc import Iterator


@functools.cache
def tree_of(module: str) -> ast.Module:
    """Syntax tree of a module; empty where its source is not at hand."""
    spec = importlib.util.find_spec(module)
    source = getattr(spec and spec.loader, "get_source", lambda name: None)(module)
    return ast.parse(source or "")


def registered_in(module: str) -> Iterator[tuple[str, str]]:
    """What a module registers under literal names.

    Yields:
        Name and docstring; the docstring is "" where only the running module can tell.
    """
    tree = tree_of(module)
    docs = {
        decorator: ast.get_docstring(node) or ""
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef | ast.FunctionDef)
        for decorator in node.decorator_list
    }
    for node in ast.walk(tree):
        match node:
            case ast.Call(
                func=ast.Name(id=word) | ast.Attribute(attr=word),
                args=[ast.Constant(value=str(name))],
            ) if word.startswith("register"):
                yield name, docs.get(node, "")


def keyword_of(module: str, call: str, keyword: str) -> object:
    """The literal that a module gives as `keyword` to a call of `call`; None if there is none."""
    for node in ast.walk(tree_of(module)):
        match node:
            case ast.Call(func=ast.Name(id=word) | ast.Attribute(attr=word)) if word == call:
                for given in node.keywords:
                    if given.arg == keyword and isinstance(given.value, ast.Constant):
                        return given.value.value
    return None


def doc_of(module: str, name: str) -> str | None:
    """Docstring of a module's function; None if it has no function of that name."""
    for node in tree_of(module).body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return ast.get_docstring(node)
    return None
