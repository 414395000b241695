"""Errors that a user can act on: each message names the place, the value and the remedy."""


class ReasoningAnatomyError(Exception):
    """Base of every error that this library raises on purpose."""


class ChainFileError(ReasoningAnatomyError):
    """A file of chains cannot be read: the message names the file, the line and the remedy.

    Attributes
    ----------
    reason
        What is wrong, without anything particular to one line, so that lines can be counted by it; empty if no line is wrong.
    """

    def __init__(self, message: str, *, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason


class ProblemFileError(ReasoningAnatomyError):
    """A file of problems cannot be read: the message names the file, the row and the remedy."""


class UnusableError(ReasoningAnatomyError):
    """A row cannot become a chain; the message is the same for all rows with this fault, so that they can be counted."""


class EncodingError(ReasoningAnatomyError):
    """A chain cannot be turned into token ids for this model."""


class ModelError(ReasoningAnatomyError):
    """A model cannot be found, loaded or measured."""


class SharingError(ModelError):
    """With this model, sharing prefixes gives other likelihoods than whole forward passes.

    Attributes
    ----------
    change
        Mean change of a token's nll, in nats.
    """

    def __init__(self, message: str, *, change: float) -> None:
        super().__init__(message)
        self.change = change


class ServerError(ReasoningAnatomyError):
    """A server cannot be reached, refuses, or answers something else than was asked for."""


class SampleError(ReasoningAnatomyError):
    """One sample cannot be made; others can.

    Attributes
    ----------
    reason
        Why, without the sample's name, so that failures can be counted by reason.
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.reason = reason


class MeasurementError(ReasoningAnatomyError):
    """One chain cannot be measured; the other chains of the run can.

    Attributes
    ----------
    reason
        Why, without the chain's id, so that a run can count its failures by reason.
    """

    def __init__(self, chain_id: str, reason: str) -> None:
        super().__init__(f"{chain_id}: {reason}")
        self.reason = reason


class UndefinedScoreError(MeasurementError):
    """A scorer has no value for a chain; everything else that is measured on the chain is kept."""


class RunError(ReasoningAnatomyError):
    """A run folder is missing or damaged, cannot be written, or was measured with another configuration."""


class MissingError(RunError):
    """A run has no such scorer, strategy, segmenter or annotator; the rest of it can be used."""


class PluginError(ReasoningAnatomyError):
    """A plugin is unknown or has a wrong option, or a file is not a plugin."""


class AnnotationError(ReasoningAnatomyError):
    """Text cannot be annotated, or labels do not fit the text that they are for."""


class AnalysisError(ReasoningAnatomyError):
    """The tables of a run do not hold what an analysis needs."""


def reason_of(error: Exception) -> str:
    """Say in one line why something failed: what an error of ours says, the type and the first line of any other."""
    if isinstance(error, ReasoningAnatomyError):
        return error.reason if isinstance(error, MeasurementError | SampleError) else str(error)
    first_line = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {first_line}" if first_line else type(error).__name__
