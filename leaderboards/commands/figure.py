"""`greaves figure ...`: figures of what happens inside a model.

A figure is one module `figure_<name>.py` of `greaves.leaderboards.figures`; its function `command`
becomes `greaves figure <name>`. The modules are imported with the command, so they import what
takes seconds (torch, scikit-learn, Altair) only when they draw.
"""

from __future__ import annotations

import importlib
import pkgutil

import typer

from greaves.leaderboards import figures

PREFIX = "figure_"

app = typer.Typer(help="Draw what happens inside a model.", no_args_is_help=True)

for _module in pkgutil.iter_modules(figures.__path__):
    if _module.name.startswith(PREFIX):
        _figure = importlib.import_module(f"{figures.__name__}.{_module.name}")
        app.command(_module.name.removeprefix(PREFIX).replace("_", "-"))(_figure.command)
