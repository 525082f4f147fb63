"""Models start from their seed; initial weights are loaded safely, and what does not fit is named."""

import pickle
import platform
import subprocess
import sys

import pytest
import torch

from ifrvis.errors import UserError
from ifrvis.harness.store.records import Measured
from ifrvis.training.build import build_model, build_optimizer, build_schedule, gpu_facts, settle_torch
from ifrvis.training.weights import load_initial_weights


def equal(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_the_start_depends_on_the_seed_alone(spec):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = build_model(spec["model"], seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(10)
    assert equal(first, build_model(spec["model"], seed=1))
    assert not equal(first, build_model(spec["model"], seed=2))


def test_building_leaves_the_config_as_it_was_and_prints_nothing(spec, capfd):
    copy = repr(spec["model"])
    build_model(spec["model"], seed=1)
    assert repr(spec["model"]) == copy
    assert capfd.readouterr().out == ""


def test_initial_weights_load_all_but_the_class_head(spec, tmp_path):
    source, model = build_model(spec["model"], seed=1), build_model(spec["model"], seed=2)
    torch.save({"state_dict": source.state_dict(), "meta": {"epoch": 3}}, tmp_path / "w.pth")
    start = model.track_head.cls_embed.weight.clone()
    not_loaded = load_initial_weights(model, tmp_path / "w.pth")
    assert not_loaded.missing == ["track_head.cls_embed.bias", "track_head.cls_embed.weight"]
    assert not_loaded.unexpected == not_loaded.missing
    assert not_loaded.mismatched == []
    assert torch.equal(model.track_head.cls_embed.weight, start)
    own, given = model.state_dict(), source.state_dict()
    assert all(torch.equal(own[key], given[key]) for key in own if "cls_embed" not in key)


def test_image_checkpoints_of_the_host_load_and_what_does_not_fit_is_named(spec, tmp_path):
    weights = build_model(spec["model"], seed=1).state_dict()
    given = {key.replace("track_head.", "panoptic_head."): value for key, value in weights.items()}
    given["panoptic_head.query_feat.weight"] = torch.zeros(200, 16)
    given["panoptic_head.extra"] = torch.zeros(1)
    del given["backbone.conv1.weight"]
    torch.save(given, tmp_path / "w.pth")
    model = build_model(spec["model"], seed=2)
    start = model.track_head.query_feat.weight.clone()
    not_loaded = load_initial_weights(model, tmp_path / "w.pth")
    head = ["track_head.cls_embed.bias", "track_head.cls_embed.weight"]
    assert not_loaded.missing == ["backbone.conv1.weight", *head]
    assert not_loaded.unexpected == [*head, "track_head.extra"]
    assert not_loaded.mismatched == ["track_head.query_feat.weight"]
    assert torch.equal(model.track_head.query_feat.weight, start)
    assert torch.equal(model.track_head.query_embed.weight, weights["track_head.query_embed.weight"])


class Evil:
    def __reduce__(self):
        return print, ("never run",)


@pytest.mark.parametrize("content", [pickle.dumps({"state_dict": Evil()}), b"\x80", b"", b"no weights"])
def test_weights_that_are_not_plain_tensors_are_refused(spec, tmp_path, content, capsys):
    path = tmp_path / "w.pth"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"^Replace .*w\.pth"):
        load_initial_weights(build_model(spec["model"], seed=1), path)
    assert "never run" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "message"),
    [
        *[
            (content, "expected a mapping of parameter names to tensors")
            for content in ([1, 2], {"state_dict": {"a": 1}}, {"state_dict": None})
        ],
        ({"a": torch.zeros(3), "backbone.conv1.weight": torch.zeros(1)}, "^Choose other initial weights than"),
        (None, r"^Check the path: .*w\.pth does not exist"),
    ],
)
def test_weights_that_are_absent_or_do_not_fit_are_refused(spec, tmp_path, content, message):
    if content is not None:
        torch.save(content, tmp_path / "w.pth")
    with pytest.raises(UserError, match=message):
        load_initial_weights(build_model(spec["model"], seed=1), tmp_path / "w.pth")


@pytest.mark.parametrize("bad", [torch.full((16,), torch.nan), torch.zeros(16, dtype=torch.complex64)])
def test_weights_that_are_no_finite_real_numbers_are_refused(spec, tmp_path, bad):
    model = build_model(spec["model"], seed=1)
    name = next(key for key, value in model.state_dict().items() if value.shape == (16,))
    torch.save({name: bad}, tmp_path / "w.pth")
    with pytest.raises(UserError, match=rf"^Replace .*w\.pth: {name} is not a dense tensor of finite real numbers"):
        load_initial_weights(model, tmp_path / "w.pth")


def test_learning_rates_fall_after_the_milestones(spec):
    optimizer = build_optimizer(build_model(spec["model"], seed=1), spec["optimizer"], precision="fp32")
    schedule = build_schedule(optimizer, {"milestones": [2, 4], "gamma": 0.1})
    rates = []
    for _ in range(6):
        rates.append(sorted({group["lr"] for group in optimizer.optimizer.param_groups}))
        optimizer.step()
        schedule.step()
    assert rates[0] == rates[1] == pytest.approx([5e-4, 1e-3])
    assert rates[2] == rates[3] == pytest.approx([5e-5, 1e-4])
    assert rates[4] == rates[5] == pytest.approx([5e-6, 1e-5])


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_mixed_precision_without_a_gpu_is_refused(spec):
    model = build_model(spec["model"], seed=1)
    with pytest.raises(UserError, match=r"^Set train\.precision=fp32, or run where a GPU is"):
        build_optimizer(model, spec["optimizer"], precision="amp")


@pytest.mark.parametrize(("precision", "rounds"), [("fp32", False), ("amp", True)])
def test_the_precision_says_whether_float32_may_be_rounded(precision, rounds, monkeypatch):
    monkeypatch.setattr("ifrvis.training.build.operator_runs", lambda device: False)
    settle_torch(1, precision)
    assert torch.backends.cuda.matmul.allow_tf32 == torch.backends.cudnn.allow_tf32 == rounds
    measured = Measured(**gpu_facts(["a", "a"]))
    assert (measured.gpus, measured.tf32, measured.attention) == (("a", "a"), rounds, False)


ALLOCATED = """
import ctypes, torch
from ifrvis.training.build import settle_torch
fields = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"  # of glibc's malloc.h
info = ctypes.CDLL(None).mallinfo2
info.restype = type("Info", (ctypes.Structure,), {"_fields_": [(name, ctypes.c_size_t) for name in fields.split()]})
settle_torch(1, "fp32")
before = info()
kept = torch.ones(1 << 24)  # 64 MiB
during = info()
del kept
print(during.hblks - before.hblks, info().arena - during.arena)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator")
def test_freed_memory_stays_in_the_heap_for_the_next_step():
    """In a process of its own: nothing is mapped apart, and what was freed is not given back."""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", ALLOCATED], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["0", "0"]
