"""Good files with one thing or a few changed: bits, bytes, keys, types, nesting, huge numbers, encodings, bombs."""

import copy
import gzip
import json
import random
import re
from collections.abc import Iterator
from typing import Any

import yaml

VALUES = [
    *(None, True, False, 0, 1, -1, 2, 0.5, -0.5, 1e308, 10**9, 10**18, 2**63, 10**30, -(10**18), 1e-320, [], {}, [[]]),
    *("", " ", "1e-4", "../../x", "/etc/passwd", "a/b", "a\nb", "\x1b[31mred", "\ud800", "\u202eabc", "=1+1", "\0"),
    *("x" * 300, "x" * 100_000, "[/red]", "2001-01-01", {"": 1}, {"type": 1}, {"size": [6, 8], "counts": [48]}),
    *("34=", "ZT10O" * 400, "\x7f", "0", "o" * 50, "m" * 50, "\u20ac", "ooooooooooo1", {"size": [6, 8], "counts": "1"}),
]
KEYS = ["", "../x", "train", "model", "inference", "train.init", "train.threads", "train.optimizer", "model.track_head"]
NESTED = ["[" * depth + "]" * depth for depth in (50, 900, 100_000)]
TOKENS = {
    "json": ["NaN", "-Infinity", "1e999", "9" * 400, "9" * 5000, *NESTED, "{", "'a'", "1.", "tru"],
    "yaml": [
        *(".nan", ".inf", "1.0e+999", "2001-01-01", "2001-99-99", "12:30:45", "0x" + "f" * 5000, "~", "!!binary aGk="),
        *("!!set {a, b}", "!!omap [a: 1]", "!!str 5", "!!float nan", "!!int x", "&a [*a]", "*nowhere", "{<<: {a: 1}}"),
        *("!!python/object/apply:pathlib.Path.touch [canary]", "!!python/name:os.system", "!!python/tuple [1]"),
        *NESTED,
        "[&a [" + "x," * 10 + "]" + "".join(f", &{b} [{f'*{a},' * 10}]" for a, b in zip("abcdefgh", "bcdefghi")) + "]",
    ],
}


def mutated(rng: random.Random, data: bytes, form: str) -> bytes:
    """The content of a good file of a form: yaml, json, gz (packed json) or bytes."""
    if rng.random() < 0.03:
        return data
    if form == "gz" and rng.random() < 0.8:
        packed = gzip.compress(mutated(rng, gzip.decompress(data), "json"), mtime=0)
        return packed + rng.choice([b"", b"", b"\0", packed[:9]])
    if form in ("bytes", "gz") or rng.random() < 0.3:
        return _other_bytes(rng, data)
    tree = yaml.safe_load(data) if form == "yaml" else json.loads(data)
    for _ in range(rng.choice([1, 1, 1, 2, 5])):
        change(rng, tree, form)
    text = json.dumps(tree) if form == "json" else yaml.safe_dump(tree, sort_keys=False, width=10**6)
    text = re.sub(r"twice \d+ ", "", text)
    text = re.sub(r"'token (\d+)'|\"token (\d+)\"|token (\d+)", lambda m: TOKENS[form][int(m[1] or m[2] or m[3])], text)
    return text.encode(rng.choice(["utf-8"] * 8 + ["utf-16", "utf-8-sig"]), "surrogatepass")


def _other_bytes(rng: random.Random, good: bytes) -> bytes:
    data, at, end = bytearray(good), *sorted(rng.randrange(len(good) + 1) for _ in range(2))
    match rng.randrange(8):
        case 0 | 1 | 2 if data:
            for _ in range(rng.choice([1, 1, 1, 4, 30])):
                data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        case 3:
            del data[at:]
        case 4:
            del data[at:end]
        case 5:
            data[at:at] = data[at:end]
        case 6:
            data[at:at] = rng.choice([b"\0", b"\xff\xfe", b"\n", b"\t", b"{", b"*", b"!!", b"\x1b[2J", b" " * 70_000])
        case _:
            data[at : at + 1] = rng.randbytes(rng.choice([1, 1, 3, 1000]))
    return bytes(data)


def change(rng: random.Random, tree: Any, form: str) -> None:
    """Drop, replace, rename, repeat or move one entry of a tree."""
    spots: dict[str, list[tuple[Any, Any]]] = {}
    for way, *spot in _spots(tree):
        spots.setdefault(way, []).append(tuple(spot))
    if not spots:
        return
    alike = rng.choice(list(spots.values()))  # each field as often as any other, however often it is there
    holder, key = rng.choice(alike)
    match rng.randrange(8):
        case 0:
            del holder[key]
        case 1 | 2:
            holder[key] = copy.deepcopy(rng.choice(VALUES))
        case 3:
            holder[key] = f"token {rng.randrange(len(TOKENS[form]))}"
        case 4 | 5:
            other, name = rng.choice(alike if rng.random() < 0.7 else rng.choice(list(spots.values())))
            holder[key] = copy.deepcopy(other[name])
        case 6 if isinstance(holder, dict):
            name = rng.choice([f"twice 1 {key}", f"twice 1 {key}", key + "x", rng.choice(KEYS)])
            holder[name] = copy.deepcopy(rng.choice([holder[key], rng.choice(VALUES)]))
        case 6:
            holder.insert(key, copy.deepcopy(holder[key]))
        case _:
            value = holder[key]
            known = isinstance(value, int | float)
            twins = [value + 1, -value, value * 1e17, str(value), float(value), bool(value)] if known else [[value]]
            holder[key] = rng.choice(twins)


def _spots(tree: Any, way: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Every place of a tree: its way without the numbers, its holder and its key there."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in list(items):
        here = f"{way}.{key}" if isinstance(tree, dict) else f"{way}[]"
        yield here, tree, key
        yield from _spots(value, here)
