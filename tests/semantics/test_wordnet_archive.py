"""WordNet's official archive, converted into the cache: read in place, checked by release, and found without an option."""

import gzip
import io
import json
import tarfile

import pytest
from typer.testing import CliRunner

from ssl_sbir.cli import app
from ssl_sbir.errors import DataError
from ssl_sbir.semantics import load_semantics, wordnet_archive, wordnet_files
from ssl_sbir.semantics.wordnet_archive import convert_wordnet_archive

# Lines of WordNet 3.0's data.noun, with the pointers to hypernyms alone.
DATA = """  1 This software and database is being provided to you, the LICENSEE, by
  14 WordNet 3.0 Copyright 2006 by Princeton University.  All rights reserved.
00015388 03 n 01 animal 0 000 | a living organism characterized by voluntary movement
01439121 05 n 02 cyprinid 0 cyprinid_fish 0 001 @ 00015388 n 0000 | soft-finned mainly freshwater fishes
01440764 05 n 02 tench 0 Tinca_tinca 0 001 @ 01439121 n 0000 | freshwater dace-like game fish of Europe
01443243 05 n 01 dace 0 001 @ 01439121 n 0000 | small European freshwater fish
"""
INDEX = """  1 This software and database is being provided to you, the LICENSEE, by
animal n 1 1 ~ 1 1 00015388
cyprinid n 1 2 @ ~ 1 0 01439121
dace n 1 1 @ 1 0 01443243
tench n 1 1 @ 1 0 01440764
"""


def write_tar(path, members=None, mode="w:gz"):
    """A tar archive of texts by name; in place of a text, a finished TarInfo without content."""
    members = {"WordNet-3.0/README": "x", "WordNet-3.0/dict/data.noun": DATA, "WordNet-3.0/dict/index.noun": INDEX,
               **(members or {})}  # fmt: skip
    with tarfile.open(path, mode) as archive:
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                archive.addfile(content)
            elif content is not None:
                member = tarfile.TarInfo(name)
                member.size = len(content.encode())
                archive.addfile(member, io.BytesIO(content.encode()))
    return path


@pytest.fixture(autouse=True)
def _nothing_installed(tmp_path, monkeypatch):
    """No WordNet on this machine, and a cache of its own."""
    monkeypatch.setattr(wordnet_files, "WORDNET_FOLDERS", ())
    monkeypatch.setenv("SSL_SBIR_CACHE", str(tmp_path / "cache"))
    load_semantics.cache_clear()
    yield
    load_semantics.cache_clear()


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2"])
def test_a_converted_archive_is_found_without_an_option(tmp_path, mode):
    with pytest.raises(
        DataError, match=r"WordNet not found.*\n.*apt install wordnet-base.*data wordnet FILE"
    ):
        load_semantics("wordnet")
    converted = convert_wordnet_archive(write_tar(tmp_path / "w.tar", mode=mode))
    assert converted.words[2] == ("tench", "Tinca_tinca")
    found = load_semantics("wordnet")
    assert found.path("tench", "dace").in_words() == "tench —is a→ cyprinid ←is a— dace"
    assert {file.name for file in (tmp_path / "cache" / "wordnet-3.0").iterdir()} == {
        "data.noun",
        "index.noun",
    }


def test_the_command_says_what_it_converted_and_what_is_wrong(tmp_path):
    file = write_tar(tmp_path / "WordNet-3.0.tar.gz")
    done = CliRunner().invoke(app, ["data", "wordnet", str(file), "--json"])
    facts = json.loads(done.stdout)
    assert (facts["synsets"], facts["lemmas"]) == (4, 4)
    assert facts["folder"] == str(tmp_path / "cache" / "wordnet-3.0")
    done = CliRunner().invoke(app, ["data", "wordnet", str(tmp_path / "absent.tar")])
    assert done.exit_code == 2
    assert "absent.tar can't be read as a tar archive: No such file" in " ".join(done.stderr.split())


def refused(file, cause):
    with pytest.raises(DataError, match=cause) as refusal:
        convert_wordnet_archive(file)
    assert "https://wordnetcode.princeton.edu/3.0/WordNet-3.0.tar.gz" in refusal.value.hint
    assert "\n" not in refusal.value.message
    assert not (file.parent / "cache" / "wordnet-3.0").exists()


def test_another_release_is_named(tmp_path):
    newer = DATA.replace("WordNet 3.0 Copyright 2006", "WordNet 3.1 Copyright 2011")
    refused(
        write_tar(tmp_path / "w.tar", {"WordNet-3.0/dict/data.noun": newer}), "holds WordNet 3.1, not 3.0"
    )
    unnamed = DATA.replace("WordNet 3.0 Copyright", "").replace("tench", "trout")
    refused(
        write_tar(tmp_path / "w.tar", {"WordNet-3.0/dict/data.noun": unnamed}),
        "w.tar: data.noun is not WordNet 3.0's: n01440764 isn't 'tench'",
    )


def test_a_file_that_is_no_such_archive_is_refused(tmp_path):
    (tmp_path / "text").write_text("no archive\n" * 200)
    refused(tmp_path / "text", "text can't be read as a tar archive")
    (tmp_path / "cut.tar.gz").write_bytes(write_tar(tmp_path / "w.tar").read_bytes()[:-40])
    refused(tmp_path / "cut.tar.gz", "cut.tar.gz can't be read as a tar archive")
    for name in ("data.noun", "index.noun"):
        without = write_tar(tmp_path / "w.tar", {f"WordNet-3.0/dict/{name}": None})
        refused(without, f"w.tar has no dict/{name}")


def test_links_are_not_followed_and_sizes_are_bounded(tmp_path, monkeypatch):
    link = tarfile.TarInfo("WordNet-3.0/dict/data.noun")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    refused(write_tar(tmp_path / "w.tar", {link.name: link}), "w.tar has no dict/data.noun")
    monkeypatch.setattr(wordnet_archive, "MAX_MEMBER_BYTES", len(DATA) - 1)
    refused(write_tar(tmp_path / "w.tar"), f"data.noun has {len(DATA)} bytes")
    monkeypatch.setattr(wordnet_archive, "MAX_MEMBER_BYTES", 64 << 20)
    monkeypatch.setattr(wordnet_archive, "MAX_ARCHIVE_BYTES", 1 << 20)
    (tmp_path / "bomb.tar.gz").write_bytes(
        gzip.compress(write_tar(tmp_path / "w.tar", {"a": "\0" * (2 << 20)}, "w").read_bytes())
    )
    refused(tmp_path / "bomb.tar.gz", "more than 1 MB unpacked")
