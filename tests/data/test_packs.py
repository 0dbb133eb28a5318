import io
import shutil
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
import torch
from PIL import Image
from trees_for_tests import noise, write_image, write_tree

from ssl_sbir.data import image_pack
from ssl_sbir.data.batches import Pack, decode_image, load_batch, prepare_pack
from ssl_sbir.data.image_folders import FileSource
from ssl_sbir.data.readers import open_data
from ssl_sbir.errors import DataError, SslSbirError
from ssl_sbir.files import cache_dir


@pytest.fixture(autouse=True)
def _fresh_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SSL_SBIR_CACHE", str(tmp_path / "cache"))


def bomb(side: int = 20_000) -> bytes:
    """A PNG whose header says 20,000 × 20,000 and whose body is next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0"))
        + chunk(b"IEND", b"")
    )


def broken_folder(root):
    folder = root / "tree" / "photo" / "cat"
    good = noise(folder / "good.png")
    jpeg = noise(folder / "good.jpg")
    for name, content in {
        "zero.png": b"",
        "cut.png": good[: len(good) // 2],
        "cut.jpg": jpeg[: len(jpeg) // 2],
        "text.png": b"hello, I am no image",
        "bomb.png": bomb(),
        "smaller_bomb.png": bomb(10_000),
    }.items():
        (folder / name).write_bytes(content)
    return root / "tree"


REASONS = {
    "zero.png": "0 bytes",
    "cut.png": "truncated",
    "cut.jpg": "truncated",
    "text.png": "not an image",
    "bomb.png": "refused without decoding",
    "smaller_bomb.png": "refused without decoding",
}


def test_broken_images_are_counted_and_listed(tmp_path):
    manifest = open_data(str(broken_folder(tmp_path)))
    pack = prepare_pack(manifest, 16)
    found = {item.key.rpartition("/")[2]: item.reason for item in pack.broken}
    assert found.keys() == REASONS.keys()
    for name, reason in REASONS.items():
        assert reason in found[name]
    good = [row for row in range(len(manifest)) if pack.ok[row]]
    assert sorted(manifest.keys[row] for row in good) == ["photo/cat/good.jpg", "photo/cat/good.png"]
    assert pack.images[~pack.ok].min() == 255
    with pytest.raises(DataError, match="6 of 8 images can't be read"):
        prepare_pack(manifest, 16, strict=True)


def test_a_file_that_vanished(tmp_path):
    write_tree(tmp_path / "t", {"photo/cat": 2})
    manifest = open_data(str(tmp_path / "t"))
    (tmp_path / "t/photo/cat/0.png").unlink()
    assert prepare_pack(manifest, 8).broken[0].reason == "the file no longer exists"


def test_nothing_readable_is_an_error(tmp_path):
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "a.png").write_bytes(b"")
    with pytest.raises(DataError, match="1 of 1 images"):
        prepare_pack(open_data(str(tmp_path / "t")), 8)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "I", "F"])
def test_every_mode_becomes_rgb(tmp_path, mode):
    values = np.tile(np.linspace(0, 255, 32).astype(np.uint8), (32, 1))
    image = Image.fromarray(values)
    if mode == "I;16":
        image = Image.fromarray(values.astype(np.uint16) * 257)
    elif mode in ("I", "F"):
        image = Image.fromarray(
            values.astype(np.int32 if mode == "I" else np.float32) * (257 if mode == "I" else 1)
        )
    else:
        image = image.convert("RGB").convert(mode) if mode != "1" else image.convert("1")
    file = tmp_path / ("x.tif" if mode in ("CMYK", "YCbCr", "F", "I", "I;16") else "x.png")
    image.save(file)
    pixels = decode_image(FileSource(tmp_path), file.name, 32).astype(int)
    assert np.abs(pixels.mean(-1).mean(0) - values[0]).mean() < (20 if mode in ("1", "P") else 4)


def test_transparency_lies_on_white(tmp_path):
    Image.new("RGBA", (4, 4), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    half = Image.new("P", (4, 4), 0)
    half.putpalette([0, 0, 0, 9, 9, 9])
    half.save(tmp_path / "palette.png", transparency=0)
    for name in ("clear.png", "palette.png"):
        assert decode_image(FileSource(tmp_path), name, 4).min() == 255


def test_exif_orientation(tmp_path):
    image = Image.new("RGB", (40, 20), "white")
    image.paste((0, 0, 0), (0, 0, 20, 20))
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned by 90° clockwise
    image.save(tmp_path / "turned.png", exif=exif)
    pixels = decode_image(FileSource(tmp_path), "turned.png", 8)
    assert pixels[0].max() == 0
    assert pixels[-1].min() == 255


def test_fits(tmp_path):
    image = Image.new("RGB", (40, 20), (0, 0, 0))
    image.paste((200, 0, 0), (10, 0, 30, 20))
    image.save(tmp_path / "wide.png")
    source = FileSource(tmp_path)
    assert decode_image(source, "wide.png", 20, "crop")[..., 0].min() == 200
    padded = decode_image(source, "wide.png", 40, "pad")
    assert padded[0].min() == 255
    assert padded[20, 0].max() == 0
    assert decode_image(source, "wide.png", 20, "squash")[:, 0].max() == 0


def test_a_pack_is_reused_and_rebuilt(tmp_path, monkeypatch):
    root = write_tree(tmp_path / "t", {"photo/cat": 3})
    manifest = open_data(str(root))
    first = prepare_pack(manifest, 8)
    with monkeypatch.context() as patch:
        patch.setattr("ssl_sbir.data.image_pack.decode_image_list", lambda *_: pytest.fail("decoded again"))
        assert prepare_pack(manifest, 8).key == first.key
        assert prepare_pack(manifest.without_labels(), 8).key == first.key
    assert prepare_pack(manifest, 9).key != first.key
    assert prepare_pack(manifest, 8, fit="pad").key != first.key
    write_image(root / "photo/cat/1.png", 200, (9, 9))
    changed = prepare_pack(manifest, 8)
    assert changed.key != first.key
    assert changed.images[1, 0, 0, 0] == 200
    for damage in ("truncate", "json", "foreign"):
        folder = changed.folder
        if damage == "truncate":
            file = folder / "images.npy"
            file.write_bytes(file.read_bytes()[:-5])
        elif damage == "json":
            (folder / "pack.json").write_text("{")
        else:
            shutil.rmtree(folder)
            folder.mkdir()
            (folder / "something").write_text("else")
        assert prepare_pack(manifest, 8).images[1, 0, 0, 0] == 200
        assert sorted(file.name for file in folder.iterdir()) == ["images.npy", "pack.json"]


def test_no_disk_space(tmp_path, monkeypatch):
    manifest = open_data(str(write_tree(tmp_path / "t", {"photo/cat": 1})))
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    with pytest.raises(DataError, match=r"need 0\.1 GB"):
        prepare_pack(manifest, 8)
    assert not list((cache_dir() / "packs").glob("[!.]*/"))


def test_a_disk_that_fills_up_leaves_nothing(tmp_path, monkeypatch):
    manifest = open_data(str(write_tree(tmp_path / "t", {"photo/cat": 1})))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ssl_sbir.data.image_pack._write_images", full)
    with pytest.raises(SslSbirError, match="No space left"):
        prepare_pack(manifest, 8)
    assert [file.suffix for file in (cache_dir() / "packs").iterdir()] == [".lock"]


def test_a_cache_that_cannot_be_made_is_named(tmp_path, monkeypatch):
    manifest = open_data(str(write_tree(tmp_path / "t", {"photo/cat": 1})))
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("SSL_SBIR_CACHE", str(tmp_path / "file"))
    with pytest.raises(SslSbirError, match="cannot write") as caught:
        prepare_pack(manifest, 8)
    assert "SSL_SBIR_CACHE" in caught.value.hint


def test_an_interrupted_pack_is_gone_on_with(tmp_path, monkeypatch):
    root = write_tree(tmp_path / "t", {"photo/cat": 150})
    for number in (3, 120):
        (root / f"photo/cat/{number}.png").write_bytes(b"broken")
    manifest = open_data(str(root))
    asked, whole = [], image_pack.decode_image_list

    def dying(source, keys, size, fit):
        asked.append(len(keys))
        if len(asked) == 4:
            raise KeyboardInterrupt
        return whole(source, keys, size, fit)

    monkeypatch.setattr(image_pack, "decode_image_list", dying)
    with pytest.raises(KeyboardInterrupt):
        prepare_pack(manifest, 8)
    (draft,) = (cache_dir() / "packs").glob(".*.part")
    kept = (draft / "images.npy").stat().st_size
    for file, torn in (("images.npy", b"half an image"), ("broken.jsonl", b'[99, "half a line')):
        with open(draft / file, "ab") as cut:
            cut.write(torn)
    asked.clear()
    asked.extend([0] * 9)
    pack = prepare_pack(manifest, 8)
    assert sum(asked[9:]) == 150 - kept // (8 * 8 * 3)
    assert not draft.exists()
    assert (~pack.ok).nonzero()[0].tolist() == sorted(
        i for i, key in enumerate(manifest.keys) if key.endswith(("/3.png", "/120.png"))
    )
    found = pack.images.copy()
    shutil.rmtree(pack.folder)
    assert (prepare_pack(manifest, 8).images == found).all()


def test_two_processes_prepare_the_same_pack(tmp_path):
    root = write_tree(tmp_path / "t", {"photo/cat": 40})
    code = (
        "import sys; from ssl_sbir.data.readers import open_data; from ssl_sbir.data.image_pack import prepare_pack; "
        "p = prepare_pack(open_data(sys.argv[1]), 64); print(p.ok.sum(), p.images.sum(dtype='int64'))"
    )
    runs = [
        subprocess.Popen([sys.executable, "-c", code, str(root)], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    answers = {run.communicate()[0] for run in runs}
    assert all(run.returncode == 0 for run in runs)
    assert len(answers) == 1
    assert answers.pop().startswith("40 ")


def test_batches(tmp_path):
    root = write_tree(tmp_path / "t", {"photo/cat": 3, "sketch/cat": 2, "photo/dog": 70})
    (root / "texts.csv").write_text("file,text\nphoto/cat/1.png,one\n")
    manifest = open_data(str(root))
    pack = prepare_pack(manifest, 8)
    assert isinstance(pack, Pack)
    rows = np.array([len(manifest) - 1, 0, 3, 3])
    batch = load_batch(pack, manifest, rows)
    for place, row in enumerate(rows):
        expected = decode_image(manifest.source, manifest.keys[int(row)], 8)
        assert np.array_equal(batch.image[place].permute(1, 2, 0).numpy(), expected)
    assert batch.label.tolist() == manifest.label[rows].tolist()
    assert batch.domain.tolist() == manifest.domain[rows].tolist()
    assert batch.text[2] == "one"
    assert batch.text[0] == ""
    moved = batch.to("cpu")
    assert moved.image.dtype == torch.float32
    assert moved.image.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(moved.image * 255, batch.image.float())
    assert torch.equal(moved.to("cpu").image, moved.image)


def test_unknown_fit_and_no_images(tmp_path):
    manifest = open_data(str(write_tree(tmp_path / "t", {"photo/cat": 1})))
    with pytest.raises(DataError, match="unknown fit 'stretch'"):
        prepare_pack(manifest, 8, fit="stretch")
    with pytest.raises(DataError, match="holds no images"):
        prepare_pack(manifest.select_rows(np.array([], dtype=np.int64)), 8)


def test_large_jpegs_are_drafted(tmp_path):
    data = io.BytesIO()
    Image.new("RGB", (4000, 4000), (10, 200, 30)).save(data, "JPEG")
    (tmp_path / "big.jpg").write_bytes(data.getvalue())
    with Image.open(tmp_path / "big.jpg") as image:
        from ssl_sbir.data.decode_image import _load_upright_rgb

        assert _load_upright_rgb(image, 64).size == (500, 500)
    assert (
        np.abs(decode_image(FileSource(tmp_path), "big.jpg", 64)[3, 3].astype(int) - (10, 200, 30)).max() < 4
    )
