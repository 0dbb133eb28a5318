"""The table of encoders: listed without torch, and its constants are those of timm, torchvision and torch."""

import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest
import timm
import torch

from ssl_sbir.encoders import encoder_table, hub_files
from ssl_sbir.encoders.encoder_facts import CHECKPOINT_URLS, TIMM_MODEL_COUNT
from ssl_sbir.encoders.timm_sources import pretrained_config
from ssl_sbir.encoders.torchvision_models import TORCHVISION_WEIGHTS

LISTING_CODE = """
import sys
from ssl_sbir.encoders.listing import encoder_table
assert len(encoder_table()) > 10
print(sorted({'torch', 'torchvision', 'timm', 'transformers'} & set(sys.modules)))
"""


def test_listing_imports_no_torch() -> None:
    result = subprocess.run([sys.executable, "-c", LISTING_CODE], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_checkpoints_are_those_of_timm_and_torchvision() -> None:
    theirs = {name: weights.url for name, weights in TORCHVISION_WEIGHTS.items()}
    theirs["cse_resnet50"] = pretrained_config("legacy_seresnet50").url
    assert theirs == CHECKPOINT_URLS
    assert len(timm.list_models()) > TIMM_MODEL_COUNT


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"XDG_CACHE_HOME": "/elsewhere"},
        {"XDG_CACHE_HOME": ""},
        {"XDG_CACHE_HOME": "/elsewhere", "TORCH_HOME": "~/torch-home"},
    ],
)
def test_the_torch_hub_folder_is_found_without_torch(variables: dict[str, str], monkeypatch) -> None:
    for name in ("XDG_CACHE_HOME", "TORCH_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    expected = f"{torch.hub.get_dir()}/checkpoints/a.pth"
    monkeypatch.delitem(sys.modules, "torch.hub")
    assert str(hub_files.torch_hub_file("https://host/a.pth")) == expected


def test_a_hub_folder_that_torch_was_given_is_followed(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("torch.hub._hub_dir", str(tmp_path))
    assert hub_files.torch_hub_file("https://host/a.pth") == tmp_path / "checkpoints" / "a.pth"


def test_encoders_of_other_packages_are_listed_but_not_imported(monkeypatch) -> None:
    offered = [
        EntryPoint(name, "no_such_module:load", "ssl_sbir.encoders") for name in ("theirs", "resnet50")
    ]
    monkeypatch.setattr("ssl_sbir.encoders.listing.entry_points", lambda group: offered)
    rows = [row for row in encoder_table() if row.weights == "another package"]
    assert [row.name for row in rows] == ["theirs"]
