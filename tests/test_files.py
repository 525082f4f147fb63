"""Files: never half-written, never misread."""

import errno
import gzip
import os
import pwd
import tempfile
from pathlib import Path

import pytest

from ifrvis.errors import UserError
from ifrvis.files import (
    bounded_memory,
    cache_folder,
    canonical_json,
    publish_once,
    read_bytes,
    read_end,
    read_json,
    read_packed_json,
    read_text,
    read_yaml,
    sha256_file,
    write_atomically,
)

READERS = {
    "text": lambda path: read_text(path, "it"),
    "bytes": read_bytes,
    "JSON": read_json,
    "YAML": read_yaml,
    "packed": lambda path: read_packed_json(path, "it"),
    "end": lambda path: read_end(path, "it"),
    "hash": sha256_file,
}
KINDS = ("folder", "FIFO", "device", "link to itself", "link to a device")


def made(path, kind):
    """Something that is no regular file, at `path`."""
    if kind == "folder":
        path.mkdir()
    elif kind == "FIFO":
        os.mkfifo(path)
    else:
        path.symlink_to({"device": "/dev/null", "link to itself": path, "link to a device": "/dev/zero"}[kind])
    return path


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reader", READERS)
def test_only_regular_files_are_read(reader, kind, tmp_path):
    with pytest.raises(UserError, match=r"^(Give a regular file|Replace) .*odd"):
        READERS[reader](made(tmp_path / "odd", kind))


@pytest.mark.parametrize("reader", READERS)
def test_what_git_lfs_left_in_the_place_of_a_file_is_named(reader, tmp_path):
    path = tmp_path / "it"
    path.write_text(f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 12345\n")
    if reader == "hash":  # of what is compared alone, as of records that others have cloned
        assert len(sha256_file(path)) == 64
    else:
        with pytest.raises(UserError, match=r"^Run `git lfs pull` in the folder of .*it, or download that file"):
            READERS[reader](path)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("write", [write_atomically, publish_once])
def test_what_is_no_regular_file_is_never_replaced(write, kind, tmp_path):
    path = made(tmp_path / "odd", kind)
    before = os.lstat(path)
    with pytest.raises(UserError, match=r"^Choose another file than .*odd to write: it is a "):
        write(path, "text")
    assert (os.lstat(path).st_ino, list(tmp_path.iterdir())) == (before.st_ino, [path])


@pytest.mark.parametrize("write", [write_atomically, publish_once])
def test_of_a_link_the_target_is_written(write, tmp_path):
    (tmp_path / "there").mkdir()
    path, target = tmp_path / "link", tmp_path / "there" / "file"
    path.symlink_to("there/file")
    write(path, "one")
    assert path.is_symlink()
    assert (target.read_text(), list(target.parent.iterdir())) == ("one", [target])
    write(path, "two")
    assert path.is_symlink()
    assert target.read_text() == ("two" if write is write_atomically else "one")


@pytest.mark.parametrize(
    ("content", "limit", "message"),
    [
        (b" " * (1 << 25), "FREE_BYTES", r"unpacks from \d+ to more than \d{8} bytes"),
        (b"[" + b"[]," * 100_000 + b"0]", "FREE_MEMORY_BYTES", r"holds what takes \d{8} bytes of memory"),
    ],
)
def test_what_is_packed_is_in_proportion(content, limit, message, tmp_path, monkeypatch):
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(content))
    monkeypatch.setattr(f"ifrvis.files.{limit}", 1 << 24 if limit == "FREE_BYTES" else 1 << 20)
    with pytest.raises(UserError, match=message):
        read_packed_json(path, "it")
    path.write_bytes(gzip.compress(b"[1, 2]"))
    assert read_packed_json(path, "it") == [1, 2]


def test_write_replaces_and_leaves_no_temporary_file(tmp_path):
    path = tmp_path / "new" / "file.txt"
    write_atomically(path, "one")
    write_atomically(path, b"two")
    assert path.read_text() == "two"
    assert [each.name for each in path.parent.iterdir()] == ["file.txt"]


def test_a_file_has_the_mode_that_the_users_umask_leaves(tmp_path):
    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "a", "x")
        publish_once(tmp_path / "b", "x")
    finally:
        os.umask(before)
    assert [oct(path.stat().st_mode)[-3:] for path in sorted(tmp_path.iterdir())] == ["640", "640"]


def test_first_publisher_wins(tmp_path):
    path = tmp_path / "record.json"
    assert publish_once(path, "first")
    assert not publish_once(path, "second")
    assert path.read_text() == "first"
    assert [each.name for each in tmp_path.iterdir()] == ["record.json"]


def test_full_disk_says_what_to_do_and_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file.txt"
    write_atomically(path, "old")

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"^Free some disk space and start again: no room left to write .*file\.txt"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["file.txt"]


def test_canonical_json_depends_on_content_alone():
    assert canonical_json({"b": 1, "a": [1.5, None]}) == canonical_json({"a": [1.5, None], "b": 1})
    with pytest.raises(ValueError, match=r"NaN|Out of range"):
        canonical_json({"a": float("nan")})


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi")
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2\n", "remove one of the two keys 'a'"),
        ("1: a\n", "quote the key 1"),
        ("? [a, b]\n: c\n", "quote the key"),
        ("a: [1\n", "is not valid YAML"),
        ("a: 2001-99-99\n", "is not valid YAML"),
        (BOMB, "write the value out instead of an alias"),
        ("a: &a [*a]", "instead of an alias"),
        ("{<<: {a: 1}}", "quote the value"),
        ("a: 2001-01-01", "quote the value"),
        ("a: !!python/object/apply:pathlib.Path.touch [canary]", "quote the value"),
        ("a: !!python/name:os.system", "quote the value"),
        ("a: !!binary aGk=", "quote the value"),
        ("a: !!bool x", "not valid YAML"),
        ('a: !!int ""', "in decimal digits"),
        ("a: 010", "in decimal digits"),
        ("a: 1:30", "in decimal digits"),
        ("a: 0x" + "f" * 5000, "in decimal digits"),
        ("a: " + "9" * 400, "in decimal digits"),
        ("a: .nan", "finite number"),
        ("a: 1.0e+999", "finite number"),
        ('a: "\\e[31mred"', "remove the control character"),
        ('a: "\\ud800"', "is not valid YAML"),
        ("a: " + "[" * 9000 + "]" * 9000, "is not valid YAML"),
        ("[" * (1 << 17), "is not valid YAML"),
        ("a: " + "x" * (1 << 18), "^Give a smaller file .* at most 262144 are read"),
    ],
)
def test_yaml_says_what_json_can_say(text, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "table.yaml").write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        read_yaml(tmp_path / "table.yaml", "the table")
    assert "table.yaml" in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["table.yaml"]


def test_bad_json_names_the_file(tmp_path):
    path = tmp_path / "gt.json"
    for content in (b"{", b"\xff\xfe", b"[" * 100_000, b"9" * 5000, b'[{"a": 1, "a": 2}]'):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"gt\.json"):
            read_json(path, "annotations")
    with pytest.raises(UserError, match="Check the path"):
        read_json(tmp_path / "absent.json")


def test_without_hard_links_publishing_is_refused_in_one_message(tmp_path, monkeypatch):
    def refused(*paths):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    with pytest.raises(UserError, match=f"^Choose a folder on a file system with hard links instead of {tmp_path}"):
        publish_once(tmp_path / "record.json", "{}")
    assert list(tmp_path.iterdir()) == []


def test_caches_of_a_user_without_home_or_name_are_temporary(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", "/home/her")
    assert cache_folder() == Path("/home/her/.cache")
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", {}.__getitem__)  # KeyError, as for an id that has no name
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    home = tmp_path / f"ifrvis-{os.getuid()}"
    assert cache_folder() == home / ".cache"
    assert Path.home() == home, "libraries find it, too"


def test_where_the_system_does_not_say_what_a_process_takes_files_are_read_without_a_bound(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"1")
    monkeypatch.setattr("ifrvis.files._STATM", tmp_path / "absent")
    with (tmp_path / "a").open("rb") as stream, bounded_memory(stream):
        assert stream.read() == b"1"
