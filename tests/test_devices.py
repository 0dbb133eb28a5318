"""Which device is taken, and what is refused."""

import pytest
import torch

from ssl_sbir.devices import device_of, refuse_absent
from ssl_sbir.errors import ConfigError


def test_auto_takes_a_gpu_where_there_is_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert device_of() == device_of("cpu") == "cpu"
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert device_of("auto") == "mps"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert device_of("auto") == "cuda"
    assert device_of("cuda:1") == "cuda:1"
    with pytest.raises(ConfigError, match="cuda:2: not on this machine"):
        device_of("cuda:2")


def test_what_is_not_there_is_refused_and_what_is_there_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="not on this machine") as error:
        device_of("cuda")
    assert error.value.hint == "Here: cpu."
    for wrong in ("cdua", "cuda:x", ""):
        with pytest.raises(ConfigError, match="unknown"):
            device_of(wrong)


def test_more_devices_than_there_are_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    refuse_absent("auto", 2)
    refuse_absent("cpu", 64)
    for kind, devices in (("cuda", 3), ("auto", 3), ("cpu", 0)):
        with pytest.raises(ConfigError, match=f"--devices {devices}"):
            refuse_absent(kind, devices)
