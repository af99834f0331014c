"""Modules under their old names: they work, and say where they went."""

from __future__ import annotations

import importlib
import sys

import pytest

from greaves.base.old_paths import MOVED

USED = {
    "greaves.defence": ("Defence", "Part", "LoRAAdapter", "SystemPrompt"),
    "greaves.errors": ("GreavesError",),
    "greaves.judges.base": ("Judge",),
    "greaves.method": ("AlignmentMethod", "MethodConfig", "Requirements", "RunContext"),
    "greaves.models.base": ("LALM", "Conversation", "Sampling"),
    "greaves.records": ("Question", "Response", "Verdict"),
    "greaves.registry": ("METHODS", "register_method", "register_task", "register_judge"),
    "greaves.steering": ("Steering",),
    "greaves.task": ("Task", "read_json_lines", "field", "inside"),
}
"""Old module -> names that plug-ins took from it."""


def test_every_old_module_is_tested() -> None:
    assert USED.keys() == MOVED.keys()


@pytest.mark.parametrize("old", USED)
def test_an_old_module_has_its_names_and_warns(old: str) -> None:
    sys.modules.pop(old, None)
    with pytest.warns(DeprecationWarning, match=f"{old} is now {MOVED[old][0]}"):
        module = importlib.import_module(old)
    for name in USED[old]:
        found = getattr(module, name)
        assert any(
            getattr(importlib.import_module(home), name, None) is found for home in MOVED[old]
        )
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        module.nothing  # noqa: B018
