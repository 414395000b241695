"""The simulated schedule, against schedules that can be worked out by hand."""

import numpy as np
import pytest

from benchmarks.scaling import Job, Options, schedule

STEADY = Options(hours_between_failures=1e9)


def jobs_of(*seconds: float, checkpoints: int = 4) -> list[Job]:
    return [Job(round(each), each * np.arange(1, checkpoints + 1) / checkpoints) for each in seconds]


@pytest.mark.parametrize(
    ("seconds", "n_workers", "expected"),
    [((5, 5, 5), 1, 15), ((2, 3, 4, 5), 2, 7), ((1, 1, 1, 9), 4, 9), ((3, 3, 2, 2, 2), 2, 7), ((4,), 8, 4)],
)
def test_the_longest_job_is_taken_first_by_whoever_is_free(seconds, n_workers, expected):
    found = schedule(jobs_of(*seconds), n_workers, STEADY, can_fail=False)
    assert (found.seconds, found.n_failures) == (expected, 0)


def test_a_job_whose_worker_fails_goes_on_from_its_last_checkpoint_when_its_claim_has_run_out(monkeypatch):
    dies = iter([150.0, 1e9, 1e9, 1e9])  # the first worker after 150 s, nobody after that

    class Dice:
        def exponential(self, mean):
            return next(dies)

    monkeypatch.setattr("benchmarks.scaling.np.random.default_rng", lambda seed: Dice())
    found = schedule(jobs_of(400.0), 2, Options())  # checkpoints after 100, 200, 300 and 400 s
    assert found.n_failures == 1
    assert found.seconds == 150 + 30 + 300, "saved at 100 s, free 30 s after the failure, taken by the other worker"


def test_failures_cost_time_and_no_work_is_lost_for_ever():
    options = Options(hours_between_failures=0.2)
    jobs = jobs_of(*np.linspace(100, 900, 60))
    failing, steady = schedule(jobs, 4, options), schedule(jobs, 4, options, can_fail=False)
    assert failing.n_failures > 0
    total = sum(job.checkpoints[-1] for job in jobs)
    assert failing.seconds > steady.seconds >= total / 4
