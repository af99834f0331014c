"""The stresses there are."""

from __future__ import annotations

from typing import Any

from greaves.align.stress.benign_finetuning import BenignFineTuning
from greaves.align.stress.contract import Stress
from greaves.align.stress.names import BENIGN_FINETUNING

STRESSES: dict[str, type[Stress[Any]]] = {BENIGN_FINETUNING: BenignFineTuning}
"""Name -> stress."""
