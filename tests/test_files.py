"""Files: never half-written, never misread."""

import errno
import os

import pytest

from ifrvis.errors import UserError
from ifrvis.files import canonical_json, publish_once, read_json, read_yaml, write_atomically


def test_write_replaces_and_leaves_no_temporary_file(tmp_path):
    path = tmp_path / "new" / "file.txt"
    write_atomically(path, "one")
    write_atomically(path, b"two")
    assert path.read_text() == "two"
    assert [each.name for each in path.parent.iterdir()] == ["file.txt"]


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


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2\n", "remove one of the two keys 'a'"),
        ("1: a\n", "quote the key 1"),
        ("a: [1\n", "is not valid YAML"),
        ("a: !!python/object/apply:os.system [true]\n", "is not valid YAML"),
        ("? [a, b]\n: c\n", "quote the key"),
        ("a: 2001-99-99\n", "is not valid YAML"),
    ],
)
def test_bad_yaml_names_the_file_and_the_cure(tmp_path, text, message):
    path = tmp_path / "table.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        read_yaml(path, "the table")
    assert "table.yaml" in str(caught.value)


def test_bad_json_names_the_file(tmp_path):
    path = tmp_path / "gt.json"
    for content in (b"{", b"\xff\xfe", b"[" * 100_000, b"9" * 5000):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"gt\.json"):
            read_json(path, "annotations")
    with pytest.raises(UserError, match="Check the path"):
        read_json(tmp_path / "absent.json")
