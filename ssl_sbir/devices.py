"""The device to compute on, and errors for devices that are unavailable."""

from collections.abc import Iterable

import torch

from ssl_sbir.errors import ConfigError
from ssl_sbir.registry import did_you_mean

AUTO = "auto"
DEVICE_KINDS = ("cuda", "mps", "cpu")


def resolve_device(requested: str = AUTO) -> str:
    """The requested device; for `auto`, a GPU if there is one, else the CPU.

    Args:
        requested: auto, cpu, cuda, mps, or one of several GPUs, such as cuda:1.

    Raises:
        ConfigError: the device is unknown, or missing on this machine.
    """
    available = _available_kinds()
    if requested == AUTO:
        return available[0]
    kind, _, number = requested.partition(":")
    if kind not in DEVICE_KINDS or (number and not number.isdecimal()):
        raise ConfigError(
            f"--device {requested}: unknown.{did_you_mean(kind, DEVICE_KINDS)}",
            "Give auto, cpu, cuda, cuda:1 or mps.",
        )
    if kind not in available or (kind == "cuda" and int(number or 0) >= torch.cuda.device_count()):
        raise _missing_device_error(f"--device {requested}", available)
    return requested


def check_accelerator(accelerator: str, devices: int) -> None:
    """Checks that the requested devices are available.

    Args:
        accelerator: auto, cpu, cuda or mps.
        devices: how many of them on this machine.

    Raises:
        ConfigError: the accelerator is unknown or missing, or there are fewer of them.
    """
    available = _available_kinds()
    if accelerator not in (AUTO, *DEVICE_KINDS):
        raise ConfigError(
            f"--accelerator {accelerator}: unknown.{did_you_mean(accelerator, DEVICE_KINDS)}",
            "Give auto, cpu, cuda or mps.",
        )
    if accelerator not in (AUTO, *available):
        raise _missing_device_error(f"--accelerator {accelerator}", available)
    kind = available[0] if accelerator == AUTO else accelerator
    most = {"cuda": torch.cuda.device_count(), "mps": 1}.get(kind, devices)
    if not 1 <= devices <= most:
        raise ConfigError(f"--devices {devices}: {kind} has {most} here", f"Give 1 to {most}.")


def _available_kinds() -> list[str]:
    """The kinds of device on this machine, the fastest first."""
    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    return [kind for kind in DEVICE_KINDS if present[kind]]


def _missing_device_error(requested: str, available: Iterable[str]) -> ConfigError:
    return ConfigError(f"{requested}: not on this machine", f"Here: {', '.join(available)}.")
