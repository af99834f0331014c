"""The stresses there are."""

from __future__ import annotations

from typing import Any

from greaves.align.stress.benign_finetuning import BenignFineTuning
from greaves.align.stress.contract import Stress

STRESSES: dict[str, type[Stress[Any]]] = {"benign-finetuning": BenignFineTuning}
"""Name -> stress."""
