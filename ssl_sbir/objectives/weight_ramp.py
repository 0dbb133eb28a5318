"""A weight that rises during a run."""


def linear_ramp(position: float, start: float, end: float) -> float:
    """0 up to `start`, 1 from `end` on, linear in between; a step where both are equal.

    Args:
        position: progress of the run, in the unit of `start` and `end`.
        start: position at which the weight starts to rise.
        end: position at which it is 1.
    """
    if position < start or end <= start:
        return float(position >= max(start, end))
    return min((position - start) / (end - start), 1.0)
