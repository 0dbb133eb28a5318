"""The error classes: every error a user can cause says what is wrong and what to do next."""


class SslSbirError(Exception):
    """The cause in one line, and the next step.

    Args:
        message: names the file or key and what was found there.
        hint: what to do next; may be empty.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class ConfigError(SslSbirError):
    """A key or value of a configuration is wrong."""


class DataError(SslSbirError):
    """Files of a data set are missing, broken or in the wrong place."""


class EncoderError(SslSbirError):
    """An encoder is unknown, or its weights are unavailable."""


class RunError(SslSbirError):
    """A run folder is occupied, not a run's, damaged or unfinished."""


class EvaluationError(SslSbirError):
    """Features or labels can't be evaluated as they are."""


class ExplainError(SslSbirError):
    """A query or result can't be explained as it is."""


class GalleryError(SslSbirError):
    """An index is missing, damaged, in use or of another model, or its engine doesn't respond."""


class QueryError(SslSbirError):
    """A query is empty or can't be read."""
