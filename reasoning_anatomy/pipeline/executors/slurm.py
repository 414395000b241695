"""Workers that are the jobs of a SLURM array, by way of submitit."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Literal

from reasoning_anatomy.errors import MissingError, RunError
from reasoning_anatomy.pipeline.executors.work import SECONDS_BETWEEN_LOOKS, Outcome, Work

_MOST_TIMEOUTS: Final = 100
"""After which a job is not queued again; submitit would stop after three, which a large run needs many more than."""


@dataclass(frozen=True)
class Slurm:
    """Workers that are jobs of an array. A job that is preempted or runs out of time is queued again, and goes on where it was.

    Attributes
    ----------
    folder
        Of scripts and logs; every node must see it, as it must see the run.
    processes
        How many jobs.
    parameters
        Of submitit, by name: ``slurm_partition``, ``timeout_min``, ``gpus_per_node``, ``mem_gb`` ...
    cluster
        ``slurm``; ``local`` runs the jobs here, without SLURM, to try things out.
    """

    folder: Path
    processes: int
    parameters: Mapping[str, Any] = field(default_factory=dict)
    cluster: Literal["slurm", "local"] = "slurm"

    def outcomes(self, work: Work) -> Iterator[Outcome | None]:
        """See `Executor`."""
        submitit = _submitit()
        jobs = self._submitted(submitit, work)
        try:
            while jobs:
                ended = [job for job in jobs if job.done()]
                jobs = [job for job in jobs if job not in ended]
                for job in ended:
                    yield _outcome(submitit, job)
                if jobs:
                    yield None
                    time.sleep(SECONDS_BETWEEN_LOOKS)
        finally:
            for job in jobs:
                job.cancel()

    def script(self) -> str:
        """Write the script that would be submitted, and submit nothing; SLURM need not be here."""
        submitit = _submitit()
        auto = submitit.AutoExecutor(folder=self.folder, cluster="local")
        executor = _without_srun(submitit)(self.folder)
        auto.cluster, auto._executor = "slurm", executor
        self._set(auto)
        return str(
            submitit.slurm.slurm._make_sbatch_string(
                command=executor._submitit_command_str, folder=self.folder, map_count=self.processes, **executor.parameters
            )
        )

    def _submitted(self, submitit: ModuleType, work: Work) -> list[Any]:
        try:
            executor = submitit.AutoExecutor(
                folder=self.folder,
                cluster=self.cluster,
                local_max_num_timeout=_MOST_TIMEOUTS,
                slurm_max_num_timeout=_MOST_TIMEOUTS,
            )
        except RuntimeError:
            raise RunError(
                "there is no srun here, so no jobs can be submitted; run the command on a login node of the cluster "
                "(--dry-run shows the script anywhere)"
            ) from None
        self._set(executor)
        try:
            return list(executor.map_array(_Job(work), range(self.processes)))
        except submitit.core.utils.FailedJobError as error:
            raise RunError(f"SLURM refused the jobs: {' '.join(str(error).split())}") from None

    def _set(self, executor: Any) -> None:
        try:
            executor.update_parameters(name="reasoning-anatomy", **self.parameters)
        except (AssertionError, NameError, TypeError, ValueError) as error:
            raise RunError(f"SLURM parameters: {error}") from None


class _Job:
    """One job of the array; submitit calls `checkpoint` when it is preempted or runs out of time, and queues it again."""

    def __init__(self, work: Work) -> None:
        self.work = work

    def __call__(self, number: int) -> Outcome:
        return self.work()

    def checkpoint(self, number: int) -> Any:
        return _submitit().helpers.DelayedSubmission(self, number)


def _without_srun(submitit: ModuleType) -> type[Any]:
    """Make submitit's executor for SLURM one that can be made where SLURM is not."""

    class WithoutSrun(submitit.SlurmExecutor):  # type: ignore[misc,name-defined]
        @classmethod
        def affinity(cls) -> int:
            return 1

    return WithoutSrun


def _outcome(submitit: ModuleType, job: Any) -> Outcome:
    try:
        outcome: Outcome = job.result()
    except (submitit.core.utils.FailedJobError, submitit.core.utils.UncompletedJobError) as error:
        return Outcome(error=f"job {job.job_id}: {error}")
    return outcome


def _submitit() -> ModuleType:
    try:
        import submitit
        import submitit.slurm.slurm
    except ImportError as error:
        needed = f"the executor slurm needs submitit ({error})"
        raise MissingError(f"{needed}; install it: pip install 'reasoning-anatomy[slurm]'") from None
    return submitit
