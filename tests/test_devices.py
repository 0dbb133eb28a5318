"""Which device is taken, and what is refused."""

import pytest
import torch

from ssl_sbir.devices import check_accelerator, resolve_device
from ssl_sbir.errors import ConfigError


def test_auto_takes_a_gpu_where_there_is_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert resolve_device() == resolve_device("cpu") == "cpu"
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert resolve_device("auto") == "mps"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("auto") == "cuda"
    assert resolve_device("cuda:1") == "cuda:1"
    with pytest.raises(ConfigError, match="cuda:2: not on this machine"):
        resolve_device("cuda:2")


def test_what_is_not_there_is_refused_and_what_is_there_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="not on this machine") as error:
        resolve_device("cuda")
    assert error.value.hint == "Here: cpu."
    for wrong in ("cdua", "cuda:x", ""):
        with pytest.raises(ConfigError, match="unknown"):
            resolve_device(wrong)


def test_more_devices_than_there_are_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    check_accelerator("auto", 2)
    check_accelerator("cpu", 64)
    for kind, devices in (("cuda", 3), ("auto", 3), ("cpu", 0)):
        with pytest.raises(ConfigError, match=f"--devices {devices}"):
            check_accelerator(kind, devices)
