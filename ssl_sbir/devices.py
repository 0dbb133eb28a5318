"""Where to compute when nobody says, and a refusal of what isn't there."""

from collections.abc import Iterable

import torch

from ssl_sbir.errors import ConfigError
from ssl_sbir.registry import did_you_mean

AUTO = "auto"
DEVICE_KINDS = ("cuda", "mps", "cpu")


def resolve_device(requested: str = AUTO) -> str:
    """The device that is asked for; `auto` is a GPU where there is one, else the processor.

    Args:
        requested: auto, cpu, cuda, mps, or one of several GPUs, such as cuda:1.

    Raises:
        ConfigError: there is no such device, or none on this machine.
    """
    there = _available_kinds()
    if requested == AUTO:
        return there[0]
    kind, _, number = requested.partition(":")
    if kind not in DEVICE_KINDS or (number and not number.isdecimal()):
        raise ConfigError(
            f"--device {requested}: unknown.{did_you_mean(kind, DEVICE_KINDS)}",
            "Give auto, cpu, cuda, cuda:1 or mps.",
        )
    if kind not in there or (kind == "cuda" and int(number or 0) >= torch.cuda.device_count()):
        raise _missing_device_error(f"--device {requested}", there)
    return requested


def check_accelerator(accelerator: str, devices: int) -> None:
    """Makes sure that a run can compute where it is asked to.

    Args:
        accelerator: auto, cpu, cuda or mps.
        devices: how many of them on this machine.

    Raises:
        ConfigError: there is no such accelerator, or not so many of them here.
    """
    there = _available_kinds()
    if accelerator not in (AUTO, *DEVICE_KINDS):
        raise ConfigError(
            f"--accelerator {accelerator}: unknown.{did_you_mean(accelerator, DEVICE_KINDS)}",
            "Give auto, cpu, cuda or mps.",
        )
    if accelerator not in (AUTO, *there):
        raise _missing_device_error(f"--accelerator {accelerator}", there)
    kind = there[0] if accelerator == AUTO else accelerator
    most = {"cuda": torch.cuda.device_count(), "mps": 1}.get(kind, devices)
    if not 1 <= devices <= most:
        raise ConfigError(f"--devices {devices}: {kind} has {most} here", f"Give 1 to {most}.")


def _available_kinds() -> list[str]:
    """The kinds of this machine, the fastest first."""
    found = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    return [kind for kind in DEVICE_KINDS if found[kind]]


def _missing_device_error(requested: str, there: Iterable[str]) -> ConfigError:
    return ConfigError(f"{requested}: not on this machine", f"Here: {', '.join(there)}.")
