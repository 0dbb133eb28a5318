"""Photos in tar shards: listed once, read in place, and what breaks loses only itself."""

import functools
import http.server
import io
import re
import tarfile
import threading

import numpy as np
import pytest
from PIL import Image
from trees_for_tests import write_tree

from ssl_sbir.data.batches import decode_image, prepare_pack
from ssl_sbir.data.join import add_photos_from
from ssl_sbir.data.manifest import Domain
from ssl_sbir.data.readers import open_data
from ssl_sbir.data.readers.shards import _expand_braces
from ssl_sbir.data.verify import verify_dataset
from ssl_sbir.errors import DataError


@pytest.fixture(autouse=True)
def _fresh_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SSL_SBIR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("ssl_sbir.data.forward_reader.NETWORK_TIMEOUT_SECONDS", 1.0)


def picture(value, side=12):
    content = io.BytesIO()
    Image.new("RGB", (side, side), (value, value // 2, 255 - value)).save(content, "PNG")
    return content.getvalue()


def write_shard(file, members):
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, "w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return file


def shards_of(folder, count=3, images=5):
    for shard in range(count):
        values = {f"{n:03}.png": picture(40 * shard + 5 * n) for n in range(images)}
        write_shard(folder / f"photos-{shard:04}.tar", values)
    return folder


class Server(http.server.ThreadingHTTPServer):
    """Serves a folder; breaks off where it is told to, and counts what it was asked for."""

    breaks: dict[str, int]
    asked: list[str]


class Handler(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        server, name = self.server, self.path.lstrip("/")
        server.asked.append(f"{name} {self.headers.get('Range', '')}".strip())
        file = server.folder / name
        if not file.is_file():
            self.send_error(404)
            return
        content = file.read_bytes()
        begins = re.match(r"bytes=(\d+)-", self.headers.get("Range") or "") if server.ranges else None
        part = content[int(begins[1]) :] if begins else content
        self.send_response(206 if begins else 200)
        self.send_header("ETag", f'"{len(content)}"')
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part[: max(0, server.breaks.get(name, 1 << 60) - (len(content) - len(part)))])

    def log_message(self, *_):
        pass


@pytest.fixture
def server(tmp_path):
    (tmp_path / "served").mkdir()
    server = Server(("127.0.0.1", 0), functools.partial(Handler, directory=str(tmp_path / "served")))
    server.folder, server.breaks, server.asked, server.ranges = tmp_path / "served", {}, [], True
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def expected(shards=3, images=5):
    return np.array([40 * shard + 5 * n for shard in range(shards) for n in range(images)])


def test_a_pattern_stands_for_shards_in_order(tmp_path):
    assert list(_expand_braces("a-{08..11}.tar")) == ["a-08.tar", "a-09.tar", "a-10.tar", "a-11.tar"]
    assert list(_expand_braces("{x,y}/{1..2}")) == ["x/1", "x/2", "y/1", "y/2"]
    assert list(_expand_braces("plain.tar")) == ["plain.tar"]
    shards_of(tmp_path)
    braces = open_data(f"shards:{tmp_path}/photos-{{0000..0002}}.tar")
    assert [key.split("#")[0] for key in braces.keys] == [f"photos-{n // 5:04}.tar" for n in range(15)]
    assert open_data(f"shards:{tmp_path}/photos-*.tar").sha256 == braces.sha256
    with pytest.raises(DataError, match="more than 1,000,000 shards"):
        open_data("shards:{0..99999999}.tar")


def test_every_image_is_read_where_it_lies(tmp_path):
    manifest = open_data(f"shards:{shards_of(tmp_path)}/photos-{{0000..0002}}.tar")
    assert (manifest.domain == Domain.PHOTO).all()
    assert manifest.read_errors == manifest.warnings == ()
    pack = prepare_pack(manifest, 8, strict=True)
    assert np.array_equal(pack.images[:, 4, 4, 0], expected())
    row = 7
    assert np.array_equal(decode_image(manifest.source, manifest.keys[row], 8), pack.images[row])
    backwards = manifest.select_rows(np.arange(len(manifest))[::-1].copy())
    assert np.array_equal(prepare_pack(backwards, 8).images, pack.images[::-1])


def test_classes_and_captions_lie_beside_an_image(tmp_path):
    write_shard(
        tmp_path / "a.tar",
        {"x/1.png": picture(1), "x/1.txt": b"a red boat\n", "x/1.cls": b"Sail Boat", "x/1.json": b"{}",
         "x/2.cls": b"7", "x/2.txt": b"first the text", "x/2.jpg": picture(2), "notes.pdf": b"%PDF"},
    )  # fmt: skip
    manifest = open_data(f"shards:{tmp_path}/a.tar")
    assert manifest.classes == ("7", "sail_boat")
    assert manifest.label.tolist() == [1, 0]
    assert [manifest.text_of_row(row) for row in range(2)] == ["a red boat", "first the text"]
    assert manifest.warnings == ("a.tar: 1 files that are no images, skipped",)


@pytest.mark.parametrize("ranges", [True, False])
def test_urls_are_streamed_once_and_listed_from_the_cache(server, ranges):
    server.ranges = ranges
    shards_of(server.folder)
    spec = f"shards:{server.url}/photos-{{0000..0002}}.tar"
    pack = prepare_pack(open_data(spec), 8, strict=True)
    assert np.array_equal(pack.images[:, 4, 4, 0], expected())
    assert len(server.asked) == 6  # each is listed, and then streamed by one request for all of its images
    again = prepare_pack(open_data(spec), 8)
    assert again.key == pack.key
    assert len(server.asked) == 9  # asked whether it is the same
    manifest = open_data(spec)
    assert np.array_equal(decode_image(manifest.source, manifest.keys[3], 8), pack.images[3])
    server.shutdown()
    server.server_close()
    assert prepare_pack(open_data(spec), 8).key == pack.key  # the network may be gone


@pytest.mark.parametrize("where", ["in a file", "in a header", "at the end"])
def test_a_truncated_shard_keeps_what_lies_before_the_break(tmp_path, where):
    shards_of(tmp_path)
    file = tmp_path / "photos-0001.tar"
    with tarfile.open(file) as tar:
        third = tar.getmembers()[2]
    cut = {"in a file": third.offset_data + 20, "in a header": third.offset + 100, "at the end": third.offset}
    file.write_bytes(file.read_bytes()[: cut[where]])
    spec = f"shards:{tmp_path}/photos-{{0000..0002}}.tar"
    manifest = open_data(spec)
    assert len(manifest) == 12
    assert len(manifest.read_errors) == 1
    assert manifest.read_errors[0].startswith("photos-0001.tar broke off after 2 images: ")
    kept = np.delete(expected(), [7, 8, 9])
    assert np.array_equal(prepare_pack(manifest, 8).images[:, 4, 4, 0], kept)
    with pytest.raises(DataError, match=r"photos-0001\.tar broke off"):
        prepare_pack(manifest, 8, strict=True)
    assert open_data(spec).read_errors == manifest.read_errors  # from the cache too
    assert not verify_dataset(spec).is_ready


def test_shards_that_are_none(tmp_path, server):
    shards_of(tmp_path / "good", count=1)
    good = (tmp_path / "good/photos-0000.tar").read_bytes()
    (tmp_path / "zero.tar").write_bytes(b"")
    (tmp_path / "text.tar").write_bytes(b"no tar at all" * 100)
    (tmp_path / "gone").mkdir()
    with tarfile.open(tmp_path / "packed.tar", "w:gz") as tar:
        tar.add(tmp_path / "text.tar", "a.png")
    (tmp_path / "good.tar").write_bytes(good)
    names = "{good,zero,text,packed,absent}"
    manifest = open_data(f"shards:{tmp_path}/{names}.tar")
    assert len(manifest) == 5
    assert [line.split(" ")[0] for line in manifest.read_errors] == [
        "zero.tar",
        "text.tar",
        "packed.tar",
        "absent.tar",
    ]
    assert "store it as a plain tar" in manifest.read_errors[2]
    assert "No such file" in manifest.read_errors[3]
    for spec, cause in (
        (f"shards:{server.url}/nowhere.tar", "404"),
        ("shards:http://127.0.0.1:9/x.tar", "refused"),
        ("shards:s3://bucket/x.tar", "'s3' is no http or https"),
        ("shards:http://[bad/x.tar", "URL|IPv6"),
        (f"shards:{tmp_path}/nothing-*.tar", "in 0 shards"),
        ("shards:", "which shards"),
    ):
        with pytest.raises(DataError, match=cause):
            open_data(spec)


def test_a_connection_that_breaks_while_listing(server):
    shards_of(server.folder)
    server.breaks["photos-0001.tar"] = 2500
    spec = f"shards:{server.url}/photos-{{0000..0002}}.tar"
    manifest = open_data(spec)
    assert 10 < len(manifest) < 15
    assert manifest.read_errors[0].startswith("photos-0001.tar broke off after")
    server.breaks.clear()
    mended = open_data(spec)
    assert (len(mended), mended.read_errors) == (15, ())


def test_a_connection_that_breaks_while_the_pack_is_made(server):
    shards_of(server.folder)
    spec = f"shards:{server.url}/photos-{{0000..0002}}.tar"
    manifest = open_data(spec)
    server.breaks["photos-0001.tar"] = 2500
    pack = prepare_pack(manifest, 8)
    assert {item.key.split("#")[0] for item in pack.broken} == {"photos-0001.tar"}
    assert 0 < len(pack.broken) <= 5
    assert all("broke off" in item.reason for item in pack.broken)
    assert np.array_equal(pack.images[pack.ok][:, 4, 4, 0], expected()[pack.ok])
    server.breaks.clear()
    mended = prepare_pack(open_data(spec), 8, strict=True)
    assert mended.key != pack.key
    assert np.array_equal(mended.images[:, 4, 4, 0], expected())


def test_corrupt_members_are_broken_images_like_any_other(tmp_path):
    members = {
        "a.png": picture(9),
        "b.png": b"no image",
        "c.png": b"",
        "d.png": picture(7)[:40],
        "e.png": picture(8),
    }
    write_shard(tmp_path / "a.tar", members)
    pack = prepare_pack(open_data(f"shards:{tmp_path}/a.tar"), 8)
    assert pack.ok.tolist() == [True, False, False, False, True]
    assert "0 bytes" in pack.broken[1].reason


def test_hostile_names_and_entries_do_nothing(tmp_path, capsys):
    names = [
        "../../evil.png",
        "/etc/evil.png",
        "a\nb\x1b[31m.png",
        "[/red].png",
        "x" * 300 + ".png",
        "ü\udcff.png",
    ]
    file = write_shard(tmp_path / "inner" / "a.tar", {name: picture(5) for name in names})
    with tarfile.open(file, "a") as tar:
        for kind, target in (
            (tarfile.SYMTYPE, "/etc/passwd"),
            (tarfile.LNKTYPE, "../../x"),
            (tarfile.CHRTYPE, ""),
        ):
            entry = tarfile.TarInfo("link.png")
            entry.type, entry.linkname = kind, target
            tar.addfile(entry)
    manifest = open_data(f"shards:{file}")
    assert len(manifest) == len(names)
    pack = prepare_pack(manifest, 8, strict=True)
    assert (pack.images[:, 4, 4, 0] == 5).all()
    assert sorted(it.name for it in tmp_path.iterdir()) == ["cache", "inner"]
    assert [it.name for it in (tmp_path / "inner").iterdir()] == ["a.tar"]


def test_a_header_that_claims_too_much_is_not_believed(tmp_path):
    entry = tarfile.TarInfo("a.png")
    entry.size = 8 << 30
    (tmp_path / "a.tar").write_bytes(entry.tobuf() + picture(3))
    long = tarfile.TarInfo("././@LongLink")
    long.type, long.size = tarfile.GNUTYPE_LONGNAME, 8 << 30
    (tmp_path / "b.tar").write_bytes(long.tobuf() + b"x" * 1024)
    shards_of(tmp_path, count=1)
    manifest = open_data(f"shards:{tmp_path}/{{a,b,photos-0000}}.tar")
    assert len(manifest) == 5
    assert len(manifest.read_errors) == 2


def test_photos_in_shards_join_a_folder_of_sketches(tmp_path, shapes):
    folder = open_data(f"folder:{shapes}")
    sketches = folder.select_rows(folder.find_rows(domain=Domain.SKETCH))
    write_shard(
        tmp_path / "a.tar", {"1.png": picture(9), "1.txt": b"nine", "1.cls": b"zebra", "2.png": picture(4)}
    )
    both = add_photos_from(sketches, open_data(f"shards:{tmp_path}/a.tar"))
    assert len(both.find_rows(domain=Domain.SKETCH)) == 72
    assert both.find_rows(domain=Domain.PHOTO).tolist() == [72, 73]
    assert both.count_by_class()["zebra"] == (0, 1)
    assert both.count_by_class()["ring"] == (12, 0)
    assert both.text_of_row(72) == "nine"
    pack = prepare_pack(both, 8)
    assert np.array_equal(pack.images[:72], prepare_pack(sketches, 8).images)
    assert pack.images[72:, 4, 4, 0].tolist() == [9, 4]
    with pytest.raises(DataError, match="holds no photo"):
        add_photos_from(folder, sketches)


def test_a_photo_s_mark_is_that_of_its_own_shard(tmp_path):
    write_shard(tmp_path / "a.tar", {"1.png": picture(9)})
    alone = open_data(f"shards:{tmp_path}/a.tar")
    mark = alone.source.fingerprint([alone.keys[0]])
    write_shard(tmp_path / "b.tar", {"2.png": picture(4)})
    both = open_data(f"shards:{tmp_path}/{{a,b}}.tar")
    marks = {key.split(".tar")[0]: both.source.fingerprint([key]) for key in both.keys}
    assert mark in marks.values()
    assert len(set(marks.values())) == 2
    assert both.source.fingerprint(list(both.keys)) not in marks.values()


def test_classes_of_sketches_that_do_not_join_stay_behind(tmp_path, shapes):
    folder = write_tree(tmp_path / "more", {"photo/ring": 1, "sketch/zebra": 1})
    both = add_photos_from(open_data(f"folder:{shapes}"), open_data(f"folder:{folder}"))
    assert "zebra" not in both.classes
    assert both.count_by_class()["ring"] == (12, 13)
