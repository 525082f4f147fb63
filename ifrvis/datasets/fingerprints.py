"""The fingerprint of files: what a run's identity knows of an annotation file and the frames that it lists."""

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ifrvis.errors import DataMissingError, UserError
from ifrvis.files import cache_folder, canonical_json, read_bytes, sha256_bytes, sha256_file, write_atomically

if TYPE_CHECKING:
    from ifrvis.datasets.ytvis import Annotations


def frames_fingerprint(annotation: Path, folder: Path, read: Callable[[], "Annotations"], key: Any) -> str:
    """Content of an annotation file, ids of its videos, names and sizes of their frames; DataMissingError if a frame
    does not exist.

    The videos are what `read` gives, which is called again when the file, or a JSON `key` on which they depend, too,
    has changed; every frame is looked at every time.
    """
    state = annotation.stat()
    known = _listing([str(annotation.resolve()), state.st_mtime_ns, state.st_size, key], read)
    frames = []
    for name in known["frames"]:
        try:
            frames.append([name, os.stat(f"{folder}/{name}").st_size])  # noqa: PTH116  there are 10 ** 5 of them
        except OSError as error:
            text = f"Restore {folder / name}: {annotation} lists this frame, which does not exist."
            raise DataMissingError(text) from error
    return sha256_bytes(canonical_json({**known, "frames": frames}))


def _listing(key: list[Any], read: Callable[[], "Annotations"]) -> dict[str, Any]:
    """What takes long to know of the videos that `read` gives, from the user's cache where `key` is known there."""
    path = cache_folder() / "ifrvis" / "listings" / sha256_bytes(canonical_json(key))
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
        known = json.loads(read_bytes(path))
        return {each: known[each] for each in ("annotation", "videos", "frames")}
    annotations = read()
    found = {
        "annotation": sha256_file(annotations.path),
        "videos": [video.id for video in annotations.videos],
        "frames": [name for video in annotations.videos for name in video.file_names],
    }
    with contextlib.suppress(UserError):  # a home that cannot be written costs time, no more
        write_atomically(path, canonical_json(found))
    return found
