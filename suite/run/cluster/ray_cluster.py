"""The module that speaks to Ray: connect, submit, wait, tell what was lost."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from greaves.base.errors import GreavesError
from greaves.run.cell_state import Failure
from greaves.run.cluster.entry import Member, work
from greaves.run.cluster.job import Job, Outcome
from greaves.run.cluster.needs import Needs
from greaves.run.cluster.schedule import Planned


@dataclass(frozen=True)
class Lost:
    """A task that ended without a word of its own.

    Attributes:
        why: in a few words.
        out_of_memory: Ray ended it to save its machine.
    """

    why: str
    out_of_memory: bool = False


@contextmanager
def connected(address: str) -> Iterator[None]:
    """Inside, this process is a driver of a Ray cluster; leaving ends its tasks.

    Ray's usage statistics, dashboard and log lines stay off.

    Raises:
        GreavesError: Ray is not installed, or there is no cluster at that address.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "1")
    try:
        import ray
    except ImportError as error:
        what = f"--cluster needs Ray ({error})"
        raise GreavesError(what, do="pip install 'greaves[cluster]'") from None
    if address.startswith("ray://"):
        what = "Ray's client (ray://) cannot start processes that train together"
        do = "start the driver in the cluster: ray job submit -- greaves run ... --cluster"
        raise GreavesError(what, where=address, do=do)
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if address == "auto" and not os.environ.get("RAY_ADDRESS") and not _nearest():
            address = "local"
        if address == "local":  # elsewhere it is the cluster's own affair
            quiet["include_dashboard"] = False
        ray.init(address=address, configure_logging=True, **quiet)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise GreavesError(
            f"no Ray cluster answers ({' '.join(str(error).split())[:160]})",
            where=address,
            do="start one, or leave the address out; if it asks for a token: RAY_AUTH_MODE=token"
            " (docs/clusters.md)",
        ) from None
    try:
        yield
    finally:
        ray.shutdown()


def _nearest() -> str:
    import ray

    try:
        found: str = ray._private.services.canonicalize_bootstrap_address_or_die("auto")
    except (ConnectionError, RuntimeError, ValueError):
        return ""
    return found


def kept(value: Any) -> Any:
    """A value that every task gets; it is held in memory, and in no log."""
    import ray

    return ray.put(value)


def submit(job: Job, passed: Any, needs: Needs, name: str) -> Any:
    """Put a task into the cluster's queue. It is tried again by the driver, not by Ray."""
    import ray

    # A process that has used one GPU cannot go over to another: each GPU task has its own.
    task = ray.remote(max_calls=1)(work) if needs.gpus else ray.remote(work)
    memory = {"memory": int(needs.memory_gb * 1e9)} if needs.memory_gb else {}
    room = {"num_gpus": needs.gpus, "num_cpus": needs.cpus, **memory}
    return task.options(max_retries=0, name=name, **room).remote(job, passed)


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
        kind = ray.remote(Member)
        for number in range(processes):
            place = PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=number)
            room = {"num_gpus": gpus, "num_cpus": needs.cpus}
            members.append(kind.options(scheduling_strategy=place, **room).remote())
        meet = ray.get(members[0].address.remote())
        given = (job, passed, processes, meet)
        waiting = [one.align.remote(*given, number) for number, one in enumerate(members)]
        first = waiting[0]
        while waiting:
            ended, waiting = ray.wait(waiting, num_returns=1)
            result: Outcome = ray.get(ended[0])
            if result.failure is not None:
                return result  # the others wait for it in vain
        return ray.get(first)  # type: ignore[no-any-return]
    except RayError as error:
        return Lost(f"one of its {processes} processes was lost ({type(error).__name__})")
    finally:
        for member in members:
            ray.kill(member)
        remove_placement_group(group)


def finished(handles: Sequence[Any], patience: float = 1.0) -> list[Any]:
    """Those of the tasks and threads that have ended; waits a moment if none has."""
    import ray

    threads = [handle for handle in handles if isinstance(handle, Future)]
    tasks = [handle for handle in handles if not isinstance(handle, Future)]
    ended = [handle for handle in threads if handle.done()]
    if not tasks:
        if not ended:
            time.sleep(min(patience, 0.2))
        return ended
    wait = 0.0 if ended else min(patience, 0.2) if threads else patience
    return [*ended, *ray.wait(tasks, num_returns=len(tasks), timeout=wait)[0]]


def outcome(handle: Any) -> Outcome | Lost:
    """What a task returned, or how it was lost."""
    import ray
    from ray.exceptions import OutOfMemoryError, RayError, RayTaskError

    try:
        result: Outcome = ray.get(handle)
    except RayTaskError as error:  # Greaves is not there, or cannot be imported
        line = str(error).strip().rpartition("\n")[2]
        what = f"a worker cannot run Greaves ({line})"
        return Outcome(failure=Failure(what=what, do="install it on all machines"), stops=True)
    except OutOfMemoryError:
        return Lost("ended to save its machine's memory", out_of_memory=True)
    except RayError as error:
        return Lost(f"its machine or process was lost ({type(error).__name__})")
    return result


def cancel(handles: Sequence[Any]) -> None:
    """End tasks that nobody waits for any more."""
    import ray

    for handle in handles:
        if not isinstance(handle, Future) and ray.is_initialized():
            ray.cancel(handle, force=True)


def say_what_does_not_fit(items: Sequence[Planned], say: Callable[[str], None]) -> None:
    """Name the models whose cells no machine of the cluster can take now."""
    import ray

    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    said: set[str] = set()
    for item in items:
        name, needs = item.cell.model.shown, item.needs
        fits = any(
            machine.get("GPU", 0) >= needs.gpus
            and machine.get("CPU", 0) >= needs.cpus
            and machine.get("memory", 0) >= (needs.memory_gb or 0) * 1e9
            for machine in machines
        )
        if not fits and name not in said:
            said.add(name)
            wanted = f"{needs.gpus:g} GPUs, {needs.cpus:g} cores and {needs.memory_gb or 0:g} GB"
            hint = "(`resources:` of the model says what it needs)"
            say(f"{name}: no machine has {wanted} now; its cells wait for one {hint}")
