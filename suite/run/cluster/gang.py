"""One cell over several processes, each with its own GPU, on one machine or on several."""

from __future__ import annotations

from typing import Any

from greaves.run.cluster import entry
from greaves.run.cluster.job import Job, Outcome
from greaves.run.cluster.needs import Needs
from greaves.run.cluster.ray_cluster import Lost


def align_together(job: Job, passed: Any, processes: int, needs: Needs) -> Outcome | Lost:
    """Align a cell in `processes` processes that Ray places as near to each other as it can.

    Args:
        job: what is aligned; every process sees its run folder.
        passed: variables for the processes, kept by Ray.
        processes: how many.
        needs: of the model; each process asks for one GPU where a cell asks for any.

    Returns:
        How the first of them ended, or the first that failed; or that one was lost.
    """
    import ray
    from ray.exceptions import RayError
    from ray.util.placement_group import placement_group, remove_placement_group
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    gpus = 1.0 if needs.gpus else 0.0
    bundle = {"CPU": needs.cpus, **({"GPU": gpus} if gpus else {})}
    group = placement_group([bundle] * processes, strategy="PACK")
    members: list[Any] = []
    try:
        ray.get(group.ready())
        kind = ray.remote(entry.Member)
        members = [
            kind.options(
                num_cpus=needs.cpus,
                num_gpus=gpus,
                scheduling_strategy=PlacementGroupSchedulingStrategy(
                    group, placement_group_bundle_index=number
                ),
            ).remote()
            for number in range(processes)
        ]
        meet = ray.get(members[0].address.remote())
        waiting = [
            member.align.remote(job, passed, number, processes, meet)
            for number, member in enumerate(members)
        ]
        first = waiting[0]
        while waiting:
            ended, waiting = ray.wait(waiting, num_returns=1)
            outcome: Outcome = ray.get(ended[0])
            if outcome.failure is not None:
                return outcome  # the others wait for it in vain
        return ray.get(first)  # type: ignore[no-any-return]
    except RayError as error:
        return Lost(f"one of its {processes} processes was lost ({type(error).__name__})")
    finally:
        for member in members:
            ray.kill(member)
        remove_placement_group(group)
