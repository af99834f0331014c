"""`greaves figure ...`: figures of what happens inside a model.

A figure is one module of this package called `figure_<name>.py`; its function `command` becomes
`greaves figure <name>`. The modules are imported at every start of `greaves`, so they import what
takes seconds (torch, scikit-learn, Altair) only when they draw.
"""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

import typer

PREFIX = "figure_"

app = typer.Typer(help="Draw what happens inside a model.", no_args_is_help=True)

for _module in pkgutil.iter_modules([str(Path(__file__).parent)]):
    if _module.name.startswith(PREFIX):
        _figure = importlib.import_module(f"greaves.leaderboards.figures.{_module.name}")
        app.command(_module.name.removeprefix(PREFIX).replace("_", "-"))(_figure.command)
