"""`ifrvis evaluate` of many videos: time and peak memory of AP and tracking metrics at 20,000 beside 2,000, and of AP
with `--jobs`, and beside the host.

Each command runs as a user types it, in processes of its own, on files that are made here: small masks, so that there
is much reading to little overlap. Memory is the kernel's count (VmHWM), of all processes of a command together. The
host's YTVISeval, of MMDetection, reads the same files of a tenth of the videos; all numbers must agree to 1e-9.
`--jobs`, tried on the fewer, must give the same bytes. Its wall time says something on an otherwise idle machine alone.

    python benchmarks/bench_many_videos.py [--videos 20000]

writes `benchmarks/results/many_videos.json`.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench_ap import ROOT, STATISTICS, assert_same, measure_host, result, write

HEIGHT, WIDTH, FRAMES, CATEGORIES, AREA = 48, 64, 36, 40, 112
METRICS = ("ap", "tracking")
FEWER, TARGET_GROWTH = 10, 1.3  # times as many videos, and the most that memory may grow by
WHAT = f"{{}} and {{}} videos of {FRAMES} frames at {WIDTH}x{HEIGHT}, 2 or 3 objects, 5 to 10 predictions"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=20_000)
    parser.add_argument("--measure", metavar="FOLDER", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(json.dumps(measure_host(args.measure)))
        return
    runs: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        many, few = Path(folder) / "many", Path(folder) / "few"
        for place, videos in ((many, args.videos), (few, args.videos // FEWER)):
            place.mkdir()
            make_data(place, videos)
        for metric in METRICS:
            for place in (few, many):
                runs[f"{metric} {place.name}"] = measured(evaluate(metric, place))
        runs["ap few, --jobs 2"] = measured([*evaluate("ap", few), "--jobs", "2"])
        assert runs["ap few, --jobs 2"]["output"] == runs["ap few"]["output"]
        runs["host few"] = measured([sys.executable, __file__, "--measure", str(few)])
    host = json.loads(runs["host few"]["output"].splitlines()[-1])["statistics"]
    assert_same({name: json.loads(runs["ap few"]["output"])[name] for name in STATISTICS}, host)
    growth = {m: runs[f"{m} many"]["peak_mib"] / runs[f"{m} few"]["peak_mib"] for m in METRICS}
    say = lambda case, of, value: result(case, of, value, None, None)  # noqa: E731
    results = [
        *(
            result(f"{m} of {FEWER} times the videos", "memory ratio", value, TARGET_GROWTH, value <= TARGET_GROWTH)
            for m, value in growth.items()
        ),
        *(
            say(f"{m} of {FEWER} times the videos", "time ratio", ratio(runs, f"{m} many", f"{m} few", "cpu_s"))
            for m in METRICS
        ),
        say("ap, one process beside --jobs 2", "wall time ratio", ratio(runs, "ap few", "ap few, --jobs 2", "wall_s")),
        say("the host beside ap", "memory ratio", ratio(runs, "host few", "ap few", "peak_mib")),
        say("the host beside ap", "time ratio", ratio(runs, "host few", "ap few", "cpu_s")),
    ]
    of_runs = {name: {key: run[key] for key in ("wall_s", "cpu_s", "peak_mib")} for name, run in runs.items()}
    write("many_videos", WHAT.format(args.videos, args.videos // FEWER), results, {"runs": of_runs})


def ratio(runs: dict[str, dict[str, Any]], first: str, second: str, key: str) -> float:
    return float(runs[first][key] / runs[second][key])


def evaluate(metric: str, folder: Path) -> list[str]:
    given = ["--gt", str(folder / "gt.json"), "--pred", str(folder / "pred.json")]
    return [sys.executable, "-m", "ifrvis", "evaluate", metric, *given, "--json"]


def measured(command: list[str]) -> dict[str, Any]:
    """Run a command: what it printed, its seconds, of the clock and of processors, and its peak memory in MiB."""
    with tempfile.TemporaryFile("w+") as output:
        before, began, peaks = os.times(), time.monotonic(), {}
        process = subprocess.Popen(command, cwd=ROOT, stdout=output)
        while process.poll() is None:
            for each in [process.pid, *children(process.pid)]:
                with contextlib.suppress(OSError, StopIteration):
                    lines = Path(f"/proc/{each}/status").read_text().splitlines()
                    peaks[each] = int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024
            time.sleep(0.02)
        assert process.returncode == 0, command
        after = os.times()
        output.seek(0)
        cpu = after.children_user + after.children_system - before.children_user - before.children_system
        seconds = {"wall_s": round(time.monotonic() - began, 2), "cpu_s": round(cpu, 2)}
        return {"output": output.read(), **seconds, "peak_mib": round(sum(peaks.values()), 1)}


def children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def make_data(folder: Path, num_videos: int, seed: int = 0) -> None:
    """Write `gt.json` and `pred.json`: boxes that move, and predictions of them that are off by some pixels."""
    import random

    rng = random.Random(seed)
    masks = {(x, y): mask(x, y) for x in range(WIDTH - 12) for y in range(HEIGHT - 10)}
    videos, tracks, entries = [], [], []
    for video_id in range(1, num_videos + 1):
        names = [f"{video_id:05d}/{t:05d}.jpg" for t in range(FRAMES)]
        head = {"id": video_id, "width": WIDTH, "height": HEIGHT, "length": FRAMES, "file_names": names}
        videos.append(json.dumps(head))
        objects = [(path(rng), rng.randint(1, CATEGORIES)) for _ in range(rng.randint(2, 3))]
        for way, label in objects:
            tracks.append(
                entry(
                    masks,
                    way,
                    id=len(tracks) + 1,
                    video_id=video_id,
                    category_id=label,
                    iscrowd=0,
                    areas=[at and AREA for at in way],
                )
            )
        for number in range(rng.randint(5, 10)):
            way, label = objects[number % len(objects)] if number < 5 else (path(rng), rng.randint(1, CATEGORIES))
            x, y = rng.randint(-2, 2), rng.randint(-2, 2)
            score = rng.random()
            moved = [at and (min(max(at[0] + x, 0), WIDTH - 13), min(max(at[1] + y, 0), HEIGHT - 11)) for at in way]
            entries.append(entry(masks, moved, video_id=video_id, category_id=label, score=score))
    categories = json.dumps([{"id": c, "name": f"c{c}"} for c in range(1, CATEGORIES + 1)])
    parts = (f'"videos": [{", ".join(videos)}]', f'"categories": {categories}', f'"annotations": [{", ".join(tracks)}]')
    (folder / "gt.json").write_text(f"{{{', '.join(parts)}}}")
    (folder / "pred.json").write_text(f"[{', '.join(entries)}]")


def path(rng: Any) -> list[tuple[int, int] | None]:
    """Where an object's corner is in each frame; None where it is hidden."""
    x, y, dx, dy = rng.uniform(0, WIDTH - 13), rng.uniform(0, HEIGHT - 11), rng.uniform(-1, 1), rng.uniform(-1, 1)
    hidden = rng.randrange(FRAMES)
    clipped = lambda value, most: int(min(max(value, 0), most))  # noqa: E731
    places = [(clipped(x + dx * t, WIDTH - 13), clipped(y + dy * t, HEIGHT - 11)) for t in range(FRAMES)]
    return [None if t == hidden else place for t, place in enumerate(places)]


def mask(x: int, y: int) -> str:
    """A box of 12 x 10 with its corners cut, as JSON of compressed runs."""
    import numpy as np
    from pycocotools import mask as coco_mask

    drawn = np.zeros((HEIGHT, WIDTH), np.uint8, "F")
    drawn[y : y + 10, x + 1 : x + 11] = drawn[y + 2 : y + 8, x : x + 12] = 1
    return json.dumps({"size": [HEIGHT, WIDTH], "counts": coco_mask.encode(drawn)["counts"].decode()})


def entry(masks: dict[Any, str], places: list[Any], **head: Any) -> str:
    segmentations = ", ".join("null" if at is None else masks[at] for at in places)
    return f'{json.dumps(head)[:-1]}, "segmentations": [{segmentations}]}}'


if __name__ == "__main__":
    main()
