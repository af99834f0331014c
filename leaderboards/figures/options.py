"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

RunPath: TypeAlias = Annotated[
    Path, typer.Argument(help="The run folder, as `greaves run` left it.")
]
Seed: TypeAlias = Annotated[int | None, typer.Option(help="Training seed; the first one if unset.")]
ModelName: TypeAlias = Annotated[str | None, typer.Option(help="Model; the first one if unset.")]
Benchmark: TypeAlias = Annotated[str | None, typer.Option(help="Whose questions, such as aiah.")]
Out: TypeAlias = Annotated[Path | None, typer.Option(help="Folder; `figures` in the run if unset.")]
AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Print the numbers as JSON.")]
OnlyJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
FinishedRun: TypeAlias = Annotated[Path, typer.Argument(help="A finished run folder.")]
