"""The course of a weight that rises while a run goes on."""


def linear_ramp(position: float, start: float, end: float) -> float:
    """0 up to `embedding_init`, 1 from `end` on, rising evenly between; a step where they are one.

    Args:
        position: how far the run is, in whatever unit `embedding_init` and `end` are.
        start: where it begins to rise.
        end: where it is 1.
    """
    if position < start or end <= start:
        return float(position >= max(start, end))
    return min((position - start) / (end - start), 1.0)
