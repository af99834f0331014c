"""A loss that is no number, where losses are looked at less often than every step, as on a GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from made_faults import RRS

from greaves.align.method import METHODS, RunContext
from greaves.align.training import trainer
from greaves.base.errors import TrainingError
from greaves.data.alignment.sets import load_alignment_data


@pytest.mark.parametrize("saved_at", [3, 1000])
def test_the_step_where_it_began_is_named_and_no_checkpoint_after_it_is_kept(
    saved_at: int,
    pocket: Any,
    mirror_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    at_every_step = trainer.arguments

    def seldom(*facts: Any) -> Any:
        made = at_every_step(*facts)
        made.logging_steps, made.logging_first_step, made.save_steps = 100, False, saved_at
        return made

    monkeypatch.setattr(trainer, "arguments", seldom)
    config = {**RRS, "learning_rate": 1e30, "max_grad_norm": 1e30}
    rrs = METHODS.get("rrs")
    method = rrs(rrs.Config(**config))
    data = load_alignment_data(mirror_folder, "mirror")
    with pytest.raises(TrainingError, match=r"the loss is nan at step 2 \(batch: mirror-"):
        method.align(pocket, data, RunContext(tmp_path, seed=0))
    assert not list(tmp_path.rglob("whole"))
