"""What a cluster's worker runs first.

Nothing here imports torch, so that the environment is set in time.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from greaves.base.machine import free_port
from greaves.run.cluster.job import Job, Outcome


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

        return ray.util.get_node_ip_address(), free_port("")

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
