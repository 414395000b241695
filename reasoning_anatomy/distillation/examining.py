"""What students answer: as any sampled chains, and how likely the gold answer is behind what they reason."""

import json
from collections.abc import Sequence

import numpy as np

from reasoning_anatomy.distillation.recipe import Examination
from reasoning_anatomy.evaluation.answering import Answering
from reasoning_anatomy.evaluation.questions import Asker
from reasoning_anatomy.files import write_atomic
from reasoning_anatomy.generation.contexts import ContextReader
from reasoning_anatomy.generation.generate import generate
from reasoning_anatomy.generation.local import LocalModel
from reasoning_anatomy.models.encoding import ChainEncoder
from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.problems import Problem
from reasoning_anatomy.progress import Stages
from reasoning_anatomy.run.selection import Kept
from reasoning_anatomy.run.students import Student, Students, read_json
from reasoning_anatomy.types import ReasoningChain


def examine(
    students: Students,
    student: Student,
    loaded: LoadedModel,
    problems: Sequence[Problem],
    examination: Examination,
    *,
    encoder: ChainEncoder,
    n_rows: int | None,
    stages: Stages,
) -> dict[str, str]:
    """Let a student answer the problems that it has not answered, and score the gold answers behind its reasoning.

    Returns
    -------
    Why answers could not be made, by question_id; the next process tries them again.
    """
    local = LocalModel(loaded=loaded, encoder=encoder, n_rows=n_rows)
    path = students.answers_file(student)
    path.parent.mkdir(parents=True, exist_ok=True)
    sampled = generate(
        problems,
        out=path,
        completer=local,
        model={**local.identity(), "name": student.label},
        sampling=examination.sampling,
        instruction="",
        opened=encoder.opened_thinking,
        stages=stages,
    )
    _score_gold(students, student, loaded, examination, encoder)
    return dict(sampled.failed)


def _score_gold(
    students: Students, student: Student, loaded: LoadedModel, examination: Examination, encoder: ChainEncoder
) -> None:
    """Measure the likelihood of the gold answers that have none yet: mean nll in nats per token, by question_id."""
    path = students.likelihoods_file(student)
    known = read_json(path) if path.exists() else {}
    missing = [row for row in students.answer_rows(student) if row["question_id"] not in known]
    contexts = [_asker(row, examination, encoder) for row in missing]
    for index, logp in ContextReader(loaded).score([asker.to_score_gold(kept, "closed_up") for asker, kept in contexts]):
        known[missing[index]["question_id"]] = float(-logp.mean())
    write_atomic(path, json.dumps(known, indent=1))


def _asker(row: dict[str, str], examination: Examination, encoder: ChainEncoder) -> tuple[Asker, Kept]:
    """Make what asks for the gold answer behind the reasoning of an answer; one without reasoning keeps none of a stand-in."""
    chain = ReasoningChain(
        chain_id=row["chain_id"], question_id=row["question_id"], question=row["question"],
        reasoning=(row["reasoning"].strip() and row["reasoning"]) or row["question"], answer=row["gold_answer"],
        gold_answer=row["gold_answer"], system_prompt=row.get("system_prompt"),
    )  # fmt: skip
    encoded = encoder.encode(chain)
    n_kept = encoded.n_reasoning if row["reasoning"].strip() else 0
    asker = Asker(encoded, encoder, Answering(gold_form=examination.gold_form).resolved(encoder.options))
    return asker, Kept(np.arange(n_kept), encoded.n_reasoning)
