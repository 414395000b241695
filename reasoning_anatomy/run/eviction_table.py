"""From the texts of a sweep to the table of what left the cache while they were written."""

from reasoning_anatomy.files import atomic_path, remove_temporary
from reasoning_anatomy.run.layout import EVICTIONS_NAME
from reasoning_anatomy.run.sweep import SweepFolder
from reasoning_anatomy.transcripts import write_eviction_table


def write_evictions(folder: SweepFolder) -> None:
    """Write ``evictions.parquet``, columns as in `Run.evictions`; nothing if no text was written under a policy."""
    # baselines of several policies are written once
    fewest_first = sorted(folder.live, key=lambda condition: condition.samples)
    conditions = {(condition.strategy, condition.threshold): condition for condition in fewest_first}
    transcripts = [
        (
            {
                "question_id": question_id,
                "chain_id": chain_id,
                "strategy": strategy,
                "threshold": threshold,
                "sample": written.answer.sample,
            },
            written.transcript,
        )
        for question_id, chain_id in sorted(folder.first_of_question.items())
        for (strategy, threshold), condition in sorted(conditions.items())
        for written in folder.texts(chain_id, condition)
    ]
    path = folder.run.folder / EVICTIONS_NAME
    if transcripts:
        remove_temporary(path)
        with atomic_path(path) as temporary:
            write_eviction_table(temporary, transcripts)
