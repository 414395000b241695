"""Where everything is in a run folder."""

import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final, Literal

Stage = Literal["score", "path"]
"""What is measured on a chain: a score by a scorer, a path by a strategy."""

STUDENTS_NAME: Final = "students.json"
"""Of a folder that holds students and no run."""
CHAINS_NAME: Final = "chains.jsonl"
UNUSABLE_NAME: Final = "unusable.jsonl"
TOKENS_NAME: Final = "tokens.parquet"
PATHS_NAME: Final = "paths.parquet"
EVALUATIONS_NAME: Final = "evaluations.parquet"
EVICTIONS_NAME: Final = "evictions.parquet"
TOKEN_ROLES_NAME: Final = "token_roles.parquet"
REPORT_NAME: Final = "report.html"
LOCK_NAME: Final = ".lease"
ENCODED_NAME: Final = "encoded.safetensors"


@lru_cache(maxsize=1 << 16)  # of 10,000 chains, each is asked for once for every label
def file_stem(text: str) -> str:
    """Turn an id or a label into a name for a file: readable if the text is, always unique, never a path out of the folder."""
    readable = re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-")[:48]
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    return f"{readable}-{digest}" if readable else digest


def artefact_name(stage: Stage, label: str) -> str:
    """Name of the file of any chain's scores by a scorer, or of its path by a strategy."""
    return f"{stage}-{file_stem(label)}.safetensors"


def missing_score_name(label: str) -> str:
    """Name of the file that says why a scorer has no value for a chain."""
    return f"score-{file_stem(label)}.json"


@dataclass(frozen=True)
class Layout:
    """Paths of the files of one run.

    Attributes
    ----------
    folder
        Of the run.
    """

    folder: Path

    def chain(self, chain_id: str) -> Path:
        """Folder of everything that is measured on one chain."""
        return self.folder / "chains" / file_stem(chain_id)

    def encoded(self, chain_id: str) -> Path:
        """File of the ids and spans of a chain."""
        return self.chain(chain_id) / ENCODED_NAME

    def artefact(self, chain_id: str, stage: Stage, label: str) -> Path:
        """File of a chain's scores by a scorer, or of its path by a strategy."""
        return self.chain(chain_id) / artefact_name(stage, label)

    def missing_score(self, chain_id: str, label: str) -> Path:
        """File that says why a scorer has no value for a chain, in place of its scores."""
        return self.chain(chain_id) / missing_score_name(label)

    def begun_path(self, chain_id: str, label: str) -> Path:
        """File of the first deletions of a path that is not finished."""
        return self.chain(chain_id) / f"begun-{file_stem(label)}.safetensors"

    def transcript(self, chain_id: str) -> Path:
        """File that says what was evicted while the chain was written."""
        return self.chain(chain_id) / "transcript.json"

    def failures(self, chain_id: str) -> Path:
        """Folder of why a chain could not be measured or answered."""
        return self.folder / "failed" / file_stem(chain_id)

    def failure(self, chain_id: str, stage: Stage, label: str) -> Path:
        """File that says why a chain could not be scored or pruned."""
        return self.failures(chain_id) / f"{stage}-{file_stem(label)}.json"

    def evaluations(self, chain_id: str) -> Path:
        """Folder of what was kept of a chain at thresholds, and of what the model answered from that."""
        return self.folder / "evaluations" / file_stem(chain_id)

    def kept(self, chain_id: str, selection: str) -> Path:
        """File of the positions that a selection keeps of a chain."""
        return self.evaluations(chain_id) / f"kept-{file_stem(selection)}.safetensors"

    def answers(self, chain_id: str, context: str, first: int) -> Path:
        """File of the answers from one context, from the sample number ``first`` on."""
        return self.evaluations(chain_id) / f"answers-{context}-{first}.json"

    def gold(self, chain_id: str, context: str) -> Path:
        """File of the likelihood of the gold answer from one context."""
        return self.evaluations(chain_id) / f"gold-{context}.json"

    def written(self, chain_id: str, policy: str, sample: int) -> Path:
        """File of a text that was written anew on a chain's question under a policy, named by its ``repr``."""
        digest = hashlib.sha256(policy.encode()).hexdigest()[:20]
        return self.evaluations(chain_id) / f"written-{digest}-{sample}.json"

    def writing_failure(self, chain_id: str, policy: str) -> Path:
        """File that says why texts could not be written on a chain's question under a policy, named by its ``repr``."""
        digest = hashlib.sha256(policy.encode()).hexdigest()[:20]
        return self.failures(chain_id) / f"written-{digest}.json"

    def evaluation_failure(self, chain_id: str) -> Path:
        """File that says why the model could not answer from what is left of a chain."""
        return self.failures(chain_id) / "sweep.json"

    def fit(self, label: str) -> Path:
        """File of what a scorer found in all chains before it scored one."""
        return self.folder / "fits" / f"{file_stem(label)}.safetensors"

    @property
    def claims(self) -> Path:
        """Folder of the claims of processes that measure."""
        return self.folder / ".claims"

    def claim(self, chain_id: str, work: str) -> Path:
        """File that stands for a claim to a piece of work on a chain."""
        return self.claims / f"{file_stem(chain_id)}.{file_stem(work)}.lease"
