"""Where to compute when nobody says, and a refusal of what isn't there."""

import torch

from ssl_sbir.errors import ConfigError
from ssl_sbir.registry import did_you_mean

AUTO = "auto"


def device_of(asked: str = AUTO) -> str:
    """The device that is asked for; `auto` is a GPU where there is one, else the processor.

    Args:
        asked: auto, cpu, cuda, mps, or one of several GPUs, such as cuda:1.

    Raises:
        ConfigError: there is no such device, or none on this machine.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if asked == AUTO:
        return next(kind for kind, found in there.items() if found)
    kind, _, number = asked.partition(":")
    if kind not in there or (number and not number.isdecimal()):
        raise ConfigError(
            f"--device {asked}: unknown.{did_you_mean(kind, there)}", "Give auto, cpu, cuda, cuda:1 or mps."
        )
    if not there[kind] or (kind == "cuda" and int(number or 0) >= torch.cuda.device_count()):
        found = ", ".join(name for name, is_there in there.items() if is_there)
        raise ConfigError(f"--device {asked}: not on this machine", f"Here: {found}.")
    return asked
