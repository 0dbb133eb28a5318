"""Where to compute when nobody says, and a refusal of what isn't there."""

from collections.abc import Iterable

import torch

from ssl_sbir.errors import ConfigError
from ssl_sbir.registry import did_you_mean

AUTO = "auto"
KINDS = ("cuda", "mps", "cpu")


def device_of(asked: str = AUTO) -> str:
    """The device that is asked for; `auto` is a GPU where there is one, else the processor.

    Args:
        asked: auto, cpu, cuda, mps, or one of several GPUs, such as cuda:1.

    Raises:
        ConfigError: there is no such device, or none on this machine.
    """
    there = _there()
    if asked == AUTO:
        return there[0]
    kind, _, number = asked.partition(":")
    if kind not in KINDS or (number and not number.isdecimal()):
        raise ConfigError(
            f"--device {asked}: unknown.{did_you_mean(kind, KINDS)}", "Give auto, cpu, cuda, cuda:1 or mps."
        )
    if kind not in there or (kind == "cuda" and int(number or 0) >= torch.cuda.device_count()):
        raise _absent(f"--device {asked}", there)
    return asked


def refuse_absent(accelerator: str, devices: int) -> None:
    """Makes sure that a run can compute where it is asked to.

    Args:
        accelerator: auto, cpu, cuda or mps.
        devices: how many of them on this machine.

    Raises:
        ConfigError: there is no such accelerator, or not so many of them here.
    """
    there = _there()
    if accelerator not in (AUTO, *KINDS):
        raise ConfigError(
            f"--accelerator {accelerator}: unknown.{did_you_mean(accelerator, KINDS)}",
            "Give auto, cpu, cuda or mps.",
        )
    if accelerator not in (AUTO, *there):
        raise _absent(f"--accelerator {accelerator}", there)
    kind = there[0] if accelerator == AUTO else accelerator
    most = {"cuda": torch.cuda.device_count(), "mps": 1}.get(kind, devices)
    if not 1 <= devices <= most:
        raise ConfigError(f"--devices {devices}: {kind} has {most} here", f"Give 1 to {most}.")


def _there() -> list[str]:
    """The kinds of this machine, the fastest first."""
    found = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    return [kind for kind in KINDS if found[kind]]


def _absent(asked: str, there: Iterable[str]) -> ConfigError:
    return ConfigError(f"{asked}: not on this machine", f"Here: {', '.join(there)}.")
