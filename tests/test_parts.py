"""A JSON file that is read part by part gives what the whole file gives, and what is wrong in the same words."""

import json
import os
from operator import itemgetter

import pytest

from ifrvis import parts
from ifrvis.errors import UserError
from ifrvis.files import read_json
from ifrvis.parts import Places, split_json

LISTS = ("", "videos", "annotations")


@pytest.fixture(params=[1, 7, 1 << 20])
def split(request, tmp_path, monkeypatch):
    """`split(text or bytes)`: the content, put together again, of a file that is read so many bytes at a time."""
    monkeypatch.setattr(parts, "_AT_ONCE", request.param)
    path = tmp_path / "a.json"

    def run(text):
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        places, seen = {key: Places({0: 0, "odd": 1}) for key in LISTS}, {key: [] for key in LISTS}

        def owner_of(key, index, entry):
            assert index == len(seen[key])
            seen[key].append(entry)
            return "odd" if index % 2 else 0

        content, file = split_json(path, "the file", places, owner_of, lambda done, total: None)
        again = {}
        for key, of in places.items():
            even, odd = list(file.read(of.of(0))), list(file.read(of.of("odd")))
            assert [index for index, _ in odd] == [index + 1 for index, _ in even][: len(odd)]
            again[key] = [entry for _, entry in sorted([*even, *odd], key=itemgetter(0))]
        assert again == seen
        return again[""] if isinstance(content, list) else {k: again.get(k) or v for k, v in content.items()}

    return run


@pytest.mark.parametrize(
    "content",
    [
        [],
        {},
        [1, 23.5, -1e300, True, None, "a", [], {}, [[["]"]]], {"videos": ["}"]}],
        {"info": {"a": [1]}, "videos": [{"id": 1, "name": 'ü \n\\ " 𝄞 ]'}, 12], "annotations": [], "z": 1},
        {"videos": {"a": 1}, "annotations": None},
    ],
)
@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("is_ascii", [True, False])
def test_parts_are_those_of_the_whole(split, content, indent, is_ascii, tmp_path):
    for mark in ("", "\ufeff"):
        assert split(f"{mark} \r\n{json.dumps(content, indent=indent, ensure_ascii=is_ascii)}\t") == content
        assert read_json(tmp_path / "a.json") == content


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "{", "[", "[1", "[1,", "[1,]", "[1}", "[1 2]", "[1]2", "{1: 2}", '{"a" 1}', '{"a": 1,}', '{"a": 1]'),
        *('{"videos": [1, {]}', '{"a": tru}', '["a', '["\\u12"]', '["\\x"]', '["a\nb"]', "[-]", "[01]", "nul", "[1]]"),
        *('[{"a": 1}, {"b": [1, 2}]', '{\n "videos": [\n  {"ü": 1},\n  {"b" 2}\n ]\n}', f"[{'9' * 5000}]"),
        *('{"a": 1, "a": 2}', '{"videos": [], "videos": []}', '{"b": {"a": 1, "a": 2}}'),
        *(b"[1, \xff]", b'["\xc3', b'{"a": "\xe2\x82"}', b"\xef\xbb"),
        *("[" * 100_000, '{"videos": ' + "[" * 100_000, '{"a": ' * 100_000),
    ],
    ids=lambda text: repr(text)[:24],
)
def test_what_is_no_json_is_refused_in_the_words_of_the_whole(split, text, tmp_path):
    with pytest.raises(UserError) as caught:
        split(text)
    with pytest.raises(UserError) as expected:
        read_json(tmp_path / "a.json")
    said, wanted = str(caught.value), str(expected.value)
    # Of a comma too many, Python 3.13 says so itself.
    if not any(word in wanted.lower() for word in ("rfc", "codec", "extra data", "trailing comma")):
        assert said == wanted
    assert said.startswith(wanted.split("(")[0])


def test_an_entry_with_a_key_twice_is_refused_when_it_is_read(split):
    with pytest.raises(UserError, match=r"a\.json: the file is not valid JSON \(an object has the key 'a' twice\)"):
        split('[{"a": 1, "a": 2}]')


def test_a_file_that_changes_meanwhile_is_refused(tmp_path):
    (path := tmp_path / "a.json").write_text("[1]")
    _, file = split_json(path, "the file", {"": (places := Places({}))}, lambda *_: 7, lambda done, total: None)
    assert list(file.read(places.of(7))) == [(0, 1)]
    os.utime(path, ns=(0, 0))
    with pytest.raises(UserError, match=r"^Leave .*a\.json as it is, and start again: the file has changed meanwhile"):
        list(file.read(places.of(7)))
