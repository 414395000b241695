"""Workers on a Ray cluster, which may grow and shrink."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from reasoning_anatomy.errors import MissingError, RunError
from reasoning_anatomy.pipeline.executors.work import MOST_RESTARTS, SECONDS_BETWEEN_LOOKS, Outcome, Work


@dataclass(frozen=True)
class Ray:
    """Workers that are Ray actors. A worker that is lost, with its process or its node, is started again elsewhere.

    Attributes
    ----------
    processes
        How many; None takes as many as the GPUs of the cluster have room for, and at least one. Those for which there is no
        room yet wait for it, so that a cluster that grows by demand grows.
    address
        Of the cluster, such as ``auto`` or ``ray://HOST:10001``; None starts one on this machine if none runs here.
    gpus
        Of each worker; a fraction lets several share one. None takes one if the cluster has any when they are started, so
        name it for a cluster that has none yet.
    cpus
        Of each worker.

    Raises
    ------
    RunError
        ``gpus`` is not what a worker can have.
    """

    processes: int | None = None
    address: str | None = None
    gpus: float | None = None
    cpus: float = 1

    def __post_init__(self) -> None:
        if self.gpus is not None and not (0 <= self.gpus <= 1 or (self.gpus > 1 and self.gpus % 1 == 0)):
            raise RunError(f"gpus is {self.gpus}; give a whole number, or a fraction of one")

    def shares(self, n_gpus: float) -> tuple[float, int]:
        """GPUs of each worker, and how many workers, on a cluster that has so many GPUs now."""
        gpus = min(1, n_gpus) if self.gpus is None else self.gpus
        return gpus, self.processes or max(1, int(n_gpus / gpus) if gpus else 1)

    def outcomes(self, work: Work) -> Iterator[Outcome | None]:
        """See `Executor`."""
        ray = _ray()
        is_ours = not ray.is_initialized()
        if is_ours:
            ray.init(
                address=self.address,
                log_to_driver=False,
                logging_level=logging.ERROR,
                include_dashboard=False if self.address is None else None,
            )
        try:
            gpus, n_workers = self.shares(ray.cluster_resources().get("GPU", 0))
            actor = ray.remote(
                num_cpus=self.cpus,
                num_gpus=gpus,
                max_restarts=MOST_RESTARTS,
                max_task_retries=MOST_RESTARTS,
            )(_Worker)
            yield from self._outcomes(ray, [actor.remote() for _ in range(n_workers)], work)
        finally:
            if is_ours:
                ray.shutdown()

    def _outcomes(self, ray: Any, workers: list[Any], work: Work) -> Iterator[Outcome | None]:
        working = {worker.work.remote(work): worker for worker in workers}
        try:
            while working:
                ended, _ = ray.wait(list(working), timeout=SECONDS_BETWEEN_LOOKS)
                if not ended:
                    yield None
                for each in ended:
                    worker = working.pop(each)
                    try:
                        yield ray.get(each)
                    except ray.exceptions.RayActorError as error:
                        yield Outcome(error=f"a worker was lost {MOST_RESTARTS + 1} times: {error}")
                    except ray.exceptions.RayTaskError as error:
                        yield Outcome(error=f"a worker crashed: {error}")
                    ray.kill(worker)  # what it held is free for those who wait
        finally:
            for worker in working.values():
                ray.kill(worker)


class _Worker:
    def work(self, work: Work) -> Outcome:
        return work()


def _ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise MissingError(f"the executor ray needs Ray ({error}); install it: pip install 'reasoning-anatomy[ray]'") from None
    return ray
