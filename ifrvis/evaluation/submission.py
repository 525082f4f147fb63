"""Submission files: the zip that a YouTube-VIS server takes, and the scores that it gives back.

The zip holds one file, `results.json`: a list of predicted tracks of the videos of the split, their masks as
run-length codes with counts as text. Whatever comes from elsewhere is checked before it is unpacked.
"""

import contextlib
import io
import json
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

from ifrvis.datasets.rle import expect
from ifrvis.datasets.ytvis import Annotations
from ifrvis.errors import UserError
from ifrvis.evaluation.predictions import Prediction, checked_results
from ifrvis.evaluation.scores import RANGES
from ifrvis.files import (
    MAX_JSON_BYTES,
    MAX_SCORES_BYTES,
    canonical_json,
    open_file,
    parse_json,
    read_text,
    sha256_bytes,
    sha256_file,
    unpacked,
    write_atomically,
)

NAME = "results.json"
_DATE = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can say: equal predictions give equal bytes
# The kind, a threshold or a number of predictions, and what it is about, if that stands apart.
_METRIC = re.compile(r"(?i)m?(ap|ar)(?:[ _@]*0?\.?(50|75|100|10|1))?([ _@.-]*)(s|m|l|short|small|medium|long|large)?")
Half = Literal["short", "long", "sizes"]
HALVES, ASKED = ("short", "long"), "?"


def write_submission(path: Path, predictions: Iterable[Prediction], *, comment: str) -> None:
    """Write the zip; equal predictions give equal bytes. The comment is for `comment_of`: servers ignore it."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        info = zipfile.ZipInfo(NAME, _DATE)
        info.compress_type = zipfile.ZIP_DEFLATED
        archive.writestr(info, canonical_json([prediction.to_json() for prediction in predictions]))
        archive.comment = comment.encode()
    if path.is_file() and sha256_file(path) != sha256_bytes(packed.getvalue()):
        raise UserError(f"Choose another --out, or remove {path}: it has other predictions.")
    write_atomically(path, packed.getvalue())


def read_submission(path: Path, annotations: Annotations) -> tuple[Prediction, ...]:
    """Read and check a zip as a server would, and better, given the videos and categories that it is about; UserError,
    with file, index and field, if it is no such zip, or its results are wrong.
    """
    where = f"{path}: {NAME}"
    entries = _entries(path)
    predictions = checked_results(entries, annotations, where)
    for index, entry in enumerate(entries):
        for t, mask in enumerate(entry["segmentations"]):
            text = mask is None or (isinstance(mask, dict) and isinstance(mask["counts"], str))
            expect(text, f"{where}: [{index}].segmentations[{t}]", "counts as compressed text, or null", mask)
    return predictions


def comment_of(path: Path) -> str:
    """The comment that the zip was written with; UserError if it is no zip that a server takes."""
    with _opened(path) as (archive, _):
        return archive.comment.decode(errors="replace")


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[zipfile.ZipFile, zipfile.ZipInfo]]:
    """The zip and its one file; nothing is ever unpacked to a path that a zip names."""
    with open_file(path, "the zip", MAX_JSON_BYTES) as stream:
        try:
            archive = zipfile.ZipFile(stream)
        except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile) as error:
            raise UserError(f"Replace {path}: it is not a zip ({error}).") from error
        members = archive.infolist()
        if [member.filename for member in members] != [NAME]:
            names = ", ".join(repr(member.filename) for member in members[:5]) or "nothing"
            raise UserError(f"Pack {NAME} alone, at the top level, into {path}: it holds {names}.")
        if members[0].flag_bits & 1:
            raise UserError(f"Pack {path} without a password: no server can read it.")
        yield archive, members[0]


def _entries(path: Path) -> Any:
    with _opened(path) as (archive, member):
        try:
            with archive.open(member) as stream:
                data = b"".join(unpacked(stream.read, member.compress_size, path, f"{NAME} in it"))
        except (OSError, EOFError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
            raise UserError(f"Replace {path}: {NAME} in it cannot be unpacked ({error}).") from error
    return parse_json(data, path, f"{NAME} in it")


def read_server_scores(
    path: Path, *, percent: bool = False, half: Half | None = None
) -> tuple[dict[str, int | float | None], str]:
    """The scores in a server's output, and the output itself; UserError if there is no AP, a metric comes twice, a
    value is no fraction, or `half` is not given and there are lines that may be about a half of the videos.

    Args:
        path: A JSON object, or text with lines such as `AP50: 0.61`. Names are read as people write them: mAP is AP,
            AP_0.50 is AP50. -1 is undefined. What is no metric of ours is passed over (`passed_over`).
        percent: Whether the values are percent, as those with a % always are.
        half: What `_S` and `_L` are: the lines of short or long videos, which alone are taken, or sizes of objects.

    Returns:
        Fractions by metric, and the text of the file.
    """
    text = read_text(path, "the file of scores", MAX_SCORES_BYTES)
    lines = list(_named_values(text, percent))
    asked = [name for name, value in lines if value is not None and _metric_of(name, half) == ASKED]
    if asked:
        raise UserError(
            f"Say with --half what {', '.join(map(repr, asked[:4]))} in {path} are about: `short` or `long` takes the "
            "lines of short or of long videos (as the server of 2022 prints them), `sizes` means sizes of objects."
        )
    scores: dict[str, int | float | None] = {}
    for name, value in lines:
        metric = _metric_of(name, half)
        if metric is None or value is None:
            continue
        expect(metric not in scores, f"{path}: {name}", f"{metric} once", value)
        cure = "a fraction from 0 to 1, or -1" + ("" if percent else "; give --percent if these are percent")
        expect(value == -1 or 0 <= value <= 1, f"{path}: {name}", cure, value)
        scores[metric] = None if value == -1 else value
    expect("AP" in scores, str(path), "a line or a key with AP" + f" of {half} videos" * (half in HALVES), text)
    return scores, text


def passed_over(text: str, half: Half | None) -> list[str]:
    """The lines or keys of a server's output that are not taken for scores."""
    return [name for name, value in _named_values(text) if value is None or _metric_of(name, half) is None]


def _metric_of(name: str, half: Half | None) -> str | None:
    """The metric that a line is about, `ASKED` if only `half` could tell; None if there is none or it is not taken."""
    match = _METRIC.fullmatch(name.strip())
    if match is None:
        return None
    kind, number, apart, suffix = (each or "" for each in match.groups())
    metric, letter = kind.upper() + number, suffix.lower()[:1]
    # As COCO's APs.
    is_size = letter == "m" or suffix.lower() in ("small", "large") or (not apart and suffix in ("s", "l"))
    if letter and not is_size and not (half == "sizes" and len(suffix) == 1):
        return ASKED if half is None else metric if half in HALVES and half[0] == letter else None
    return metric + letter if metric + letter in RANGES and half not in HALVES else None


def _named_values(text: str, percent: bool = False) -> Iterator[tuple[str, float | None]]:
    """What a server's output says, by its names, in fractions, or -1; lines that give no number to a name have None."""
    try:
        content: Any = json.loads(text, object_pairs_hook=tuple)  # of a key that comes twice, both
        pairs = [(*each, "") for each in content] if isinstance(content, tuple) else []
    except (ValueError, RecursionError):
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        found = [re.fullmatch(r"([\w.@ -]+?)[ \t]*[:=][ \t]*([-+.\deE]+)[ \t]*(%?)", line) for line in lines]
        pairs = [(match[1], match[2], match[3]) if match else (line, "", "") for match, line in zip(found, lines)]
    for name, value, sign in pairs:
        try:
            number = float(str(value))  # not true, which is 1
            yield name, number / 100 if (percent or sign) and number != -1 else number
        except ValueError:
            yield name, None
