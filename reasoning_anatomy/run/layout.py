"""Where everything is in a run folder."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

Stage = Literal["score", "path"]
"""What is measured on a chain: a score by a scorer, a path by a strategy."""

CHAINS_NAME: Final = "chains.jsonl"
UNUSABLE_NAME: Final = "unusable.jsonl"
TOKENS_NAME: Final = "tokens.parquet"
PATHS_NAME: Final = "paths.parquet"
TOKEN_ROLES_NAME: Final = "token_roles.parquet"
REPORT_NAME: Final = "report.html"
LOCK_NAME: Final = ".lock"


def file_stem(text: str) -> str:
    """Turn an id or a label into a name for a file: readable if the text is, always unique, never a path out of the folder."""
    readable = re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-")[:48]
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    return f"{readable}-{digest}" if readable else digest


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
        return self.chain(chain_id) / "encoded.safetensors"

    def artefact(self, chain_id: str, stage: Stage, label: str) -> Path:
        """File of a chain's scores by a scorer, or of its path by a strategy."""
        return self.chain(chain_id) / f"{stage}-{file_stem(label)}.safetensors"

    def missing_score(self, chain_id: str, label: str) -> Path:
        """File that says why a scorer has no value for a chain, in place of its scores."""
        return self.chain(chain_id) / f"score-{file_stem(label)}.json"

    def begun_path(self, chain_id: str, label: str) -> Path:
        """File of the first deletions of a path that is not finished."""
        return self.chain(chain_id) / f"begun-{file_stem(label)}.safetensors"

    def failure(self, chain_id: str, stage: Stage, label: str) -> Path:
        """File that says why a chain could not be scored or pruned."""
        return self.folder / "failed" / file_stem(chain_id) / f"{stage}-{file_stem(label)}.json"

    def fit(self, label: str) -> Path:
        """File of what a scorer found in all chains before it scored one."""
        return self.folder / "fits" / f"{file_stem(label)}.safetensors"

    @property
    def claims(self) -> Path:
        """Folder of the claims of processes that measure."""
        return self.folder / ".claims"

    def claim(self, chain_id: str, work: str) -> Path:
        """File that stands for a claim to a piece of work on a chain."""
        return self.claims / f"{file_stem(chain_id)}.{file_stem(work)}.lock"
