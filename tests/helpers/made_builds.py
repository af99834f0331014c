"""Builds of small sets from the made dataset."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from made_data_servers import ChatServer

from greaves.data.alignment.build import Built, build
from greaves.data.alignment.spec import read_spec


def polite(question: str, number: int) -> str:
    return re.sub("sabotage|leak|pilfer", "polish", question)


def make(
    kind: str, dataset: Path, out: Path, server: ChatServer | None = None, **more: Any
) -> Built:
    options: dict[str, Any] = {
        "kind": kind,
        "per_category": 2,
        "source": {"from": "beavertails", "dataset": str(dataset)},
    }
    if server is not None:
        options["rewriter"] = {"endpoint": server.url, "model": "made-up", "parallel": 3}
    stop = more.pop("stop_for_review", False)
    return build(read_spec(None, {**options, **more}), out, stop_for_review=stop)
