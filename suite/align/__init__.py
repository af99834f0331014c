"""What is done to a model: methods, defences and their parts, training.

`greaves.align(model, "rrs")` is the front door's function (see `greaves.api.aligning.align`);
`greaves.align.method` and the other modules of this room are reached as ever.
"""

import sys
from types import ModuleType
from typing import Any

import greaves


class _Room(ModuleType):
    """This room, which can be called."""

    def __call__(self, *given: Any, **named: Any) -> Any:
        return greaves.front("align")(*given, **named)


sys.modules[__name__].__class__ = _Room
