"""What a driver hands to a worker, what the worker runs first, and what comes back.

Nothing here imports torch, so that the environment is set in time.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from greaves.run.cell_state import Failure


@dataclass(frozen=True)
class Job:
    """One task of the cluster.

    Attributes:
        what: "cell" aligns, answers and judges by rule; "judge" judges by models; "align" only
            aligns.
        recipe: path of the recipe's file, or the name of a packaged one.
        recipe_hash: of the recipe as validated; another on the worker is refused.
        cell: index in the plan.
        request: hash of what the cell is asked to do.
        folder: run folder, a path or a URL.
        only: names of models, methods or tasks.
        same: package versions and source hash; others on the worker are refused.
        started_in: working folder of the driver; models' paths may be relative to it.
    """

    what: Literal["cell", "judge", "align"]
    recipe: str
    recipe_hash: str
    cell: int
    request: str
    folder: str
    only: tuple[str, ...]
    same: Mapping[str, str]
    started_in: str


@dataclass(frozen=True)
class Outcome:
    """How a task ended.

    Attributes:
        asked, found: responses asked for now, and found from before.
        failure: None if all went well.
        stops: the error would hit every other task too.
        judges: identity of each judge used -> its name, version and settings.
        host: the machine.
    """

    asked: int = 0
    found: int = 0
    failure: Failure | None = None
    stops: bool = False
    judges: Mapping[str, Any] = field(default_factory=dict)
    host: str = ""


def work(job: Job, environment: Mapping[str, str], together: bool = False) -> Outcome:
    """Carry a task out; never raises what a user could have caused.

    Args:
        job: the task.
        environment: variables to set; keys travel this way and are written nowhere.
        together: align with other processes, which the environment names.
    """
    os.environ.update(environment)
    from greaves.run.cluster.worker import carry_out

    return carry_out(job, together)


class Member:
    """One of several processes, on one machine or on several, that align a cell together."""

    def address(self) -> tuple[str, int]:
        """Where the others can meet this one: its machine, and a free port there."""
        import ray

        with socket.socket() as probe:
            probe.bind(("", 0))
            port: int = probe.getsockname()[1]
        return ray.util.get_node_ip_address(), port

    def align(
        self, job: Job, environment: Mapping[str, str], count: int, meet: tuple[str, int], rank: int
    ) -> Outcome:
        """Align with the others; each of them is called with the same job."""
        ranks = {
            "RANK": str(rank),
            "LOCAL_RANK": "0",  # Ray shows each process its own GPU only
            "WORLD_SIZE": str(count),
            "LOCAL_WORLD_SIZE": "1",
            "MASTER_ADDR": meet[0],
            "MASTER_PORT": str(meet[1]),
        }
        return work(job, {**environment, **ranks}, together=True)
