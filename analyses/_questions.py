"""What the ids of questions say about the number of questions, which is the n of every analysis."""

from reasoning_anatomy.questions import question_notes
from reasoning_anatomy.run.folder import Run


def question_warnings(run: Run) -> tuple[str, ...]:
    """Warn if measured chains on one question have several question_ids, or chains on several questions the same."""
    return tuple(question_notes(run.chains[chain_id] for chain_id in run.measured))
