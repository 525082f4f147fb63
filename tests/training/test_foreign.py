"""Foreign files: arrays come out as they went in; code, garbage and requests for memory do not get far."""

import collections
import pickle
import struct
import zipfile

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer

from ifrvis.errors import DataMissingError, UserError
from ifrvis.training.foreign import read_foreign
from ifrvis.training.weights import read_weights

STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.tensor([1.5, -2.0]), "n": torch.tensor(3)}


def assert_is_state(found, state=STATE):
    assert list(found) == list(state)
    assert all(torch.equal(found[name], value) and found[name].dtype == value.dtype for name, value in state.items())


@pytest.mark.parametrize("protocol", range(6))
def test_pickles_of_arrays_come_out_as_they_went_in(tmp_path, protocol):
    arrays = {name: value.numpy() for name, value in STATE.items()}
    arrays["a.weight"] = np.asfortranarray(arrays["a.weight"])
    extra = {"__author__": "x", "matching_heuristics": True, "iteration": np.int64(3)}
    (tmp_path / "w.pkl").write_bytes(pickle.dumps({"model": collections.OrderedDict(arrays), **extra}, protocol))
    assert_is_state(read_foreign(tmp_path / "w.pkl"))


def test_arrays_in_another_byte_order_have_the_same_values(tmp_path):
    (tmp_path / "w.pkl").write_bytes(pickle.dumps({"a": np.arange(3, dtype=">f4")}))
    assert_is_state(read_foreign(tmp_path / "w.pkl"), {"a": torch.arange(3.0)})


@pytest.mark.parametrize("zipped", [True, False])
def test_checkpoints_of_mmdetection_and_of_old_torch_are_read(tmp_path, zipped):
    content = {"meta": {"epoch": 3, "classes": ("a", "b"), "config": "x = 1"}, "state_dict": STATE}
    torch.save(content, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    assert_is_state(read_foreign(tmp_path / "w.pth"))


@pytest.mark.parametrize("zipped", [True, False])
def test_a_checkpoint_of_a_training_of_mmengine_is_read(tmp_path, zipped):
    hub = {"log_scalars": {"train/loss": HistoryBuffer([0.5, 0.25], [1, 1])}, "runtime_info": {"iter": np.int64(3)}}
    content = {"message_hub": hub, "state_dict": STATE, "param_schedulers": [{"milestones": collections.Counter([8])}]}
    torch.save(content, tmp_path / "epoch_12.pth", _use_new_zipfile_serialization=zipped)
    assert_is_state(read_foreign(tmp_path / "epoch_12.pth"))


def test_what_a_file_is_its_content_says_and_not_its_name(tmp_path):
    (tmp_path / "model_final.pkl.1").write_bytes(pickle.dumps({name: each.numpy() for name, each in STATE.items()}))
    for zipped in (True, False):
        torch.save(STATE, tmp_path / f"{zipped}.pkl", _use_new_zipfile_serialization=zipped)
    for path in tmp_path.iterdir():
        assert_is_state(read_foreign(path))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"<!DOCTYPE html><html>Quota exceeded", r"it is text, '<!DOCTYPE html><html>"),
        (b"", "it is empty"),
        (b"\x1f\x8b\x08\x00", "it is of another kind"),
    ],
)
@pytest.mark.parametrize("name", ["w.pth", "w.pkl"])
def test_what_a_server_sent_in_the_place_of_weights_is_named(tmp_path, content, said, name):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=rf"^Download .*{said}"):
        read_foreign(tmp_path / name)


class Evil:
    def __reduce__(self):
        return print, ("it ran",)


def text(value):
    return b"U" + bytes([len(value)]) + value.encode()


def raw_array(shape, data, code="f4", byte_order="<"):
    """A pickle of an array whose shape and bytes are as given, fitting or not."""
    plain = [pickle.dumps(value, 2)[2:-1] for value in (shape, data)]
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    dtype = b"cnumpy\ndtype\n" + text(code) + b"K\x00K\x01\x87R(K\x03" + text(byte_order) + b"NNNK\xffK\xffK\x00tb"
    return b"\x80\x02}U\x01a" + array + b"(K\x01" + plain[0] + dtype + b"\x89" + plain[1] + b"tbs."


GOOD = raw_array((2,), struct.pack("<2f", 1, 2).decode("latin1"))


def test_the_hand_made_pickle_is_one(tmp_path):
    (tmp_path / "w.pkl").write_bytes(GOOD)
    assert_is_state(read_foreign(tmp_path / "w.pkl"), {"a": torch.tensor([1.0, 2.0])})


HOSTILE = {
    "code": pickle.dumps({"a": Evil()}),
    "code of numpy": b"\x80\x02cnumpy\nload\nU\x01x\x85R.",
    "a call of ndarray": b"\x80\x02cnumpy\nndarray\nJ\xff\xff\xff\x7f\x85R.",
    "objects": pickle.dumps({"a": np.array([object, 1], dtype=object)}),
    "text": pickle.dumps({"a": np.array(["x"])}),
    "a shape beyond its bytes": raw_array((1 << 30, 1 << 30), ""),
    "a negative shape": raw_array((-1, -1), "abcd"),
    "a type of a gigabyte": raw_array((1,), "", code="V1000000000"),
    "a byte order of its own": raw_array((1,), "abcd", byte_order="x"),
    "a memo of gigabytes": b"\x80\x02Nr\xff\xff\xff\x7f.",
    "cut short": pickle.dumps({"a": np.zeros(100)})[:-50],
    "nothing": b"",
    "a number": pickle.dumps(3),
    "no array": pickle.dumps({"a": 3}),
    "not finite": pickle.dumps({"a": np.array([np.nan])}),
    "a bytearray of gigabytes": b"\x80\x02\x96" + (1 << 34).to_bytes(8, "little") + b".",
    "too many": pickle.dumps(dict.fromkeys(range(20_001))),
}


class Call:
    def __init__(self, function, *arguments):
        self.__reduce__ = lambda: (function, arguments)

    def __reduce_ex__(self, protocol):
        return self.__reduce__()


SHARED = torch.zeros(1 << 18)
GREEDY = {  # what asks for memory that it does not hold
    "expanded": {"a": torch.zeros(1).expand(1 << 36)},
    "one tensor under many names": {str(number): SHARED for number in range(15_000)},
    "zeros": {"a": SHARED, "b": Call(bytearray, 1 << 34)},
}


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("what", GREEDY)
def test_files_of_torch_that_ask_for_memory_are_refused(tmp_path, what, zipped):
    path = tmp_path / "w.pth"
    torch.save({"state_dict": GREEDY[what]}, path, _use_new_zipfile_serialization=zipped)
    for read in (read_foreign, read_weights):
        with pytest.raises(UserError, match=r"(at most \d+ are given to it|memory that its size allows)\)"):
            read(path)


def test_a_file_of_torch_whose_entries_are_packed_is_refused(tmp_path):
    torch.save({"a": SHARED}, tmp_path / "stored.pth")
    packed = zipfile.ZipFile(tmp_path / "packed.pth", "w", zipfile.ZIP_DEFLATED)
    with zipfile.ZipFile(tmp_path / "stored.pth") as stored, packed:
        for each in stored.infolist():
            packed.writestr(each.filename, stored.read(each))
    with pytest.raises(UserError, match="its entries are packed"):
        read_foreign(tmp_path / "packed.pth")


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_pickles_are_refused_with_what_to_do(tmp_path, capsys, what):
    (tmp_path / "w.pkl").write_bytes(HOSTILE[what])
    with pytest.raises(UserError, match=r"^(Download|Choose) "):
        read_foreign(tmp_path / "w.pkl")
    assert capsys.readouterr().out == ""


def test_hostile_files_of_torch_are_refused_with_what_to_do(tmp_path, capsys, monkeypatch):
    path = tmp_path / "w.pth"
    torch.save({"state_dict": Evil()}, path)
    contents = [path.read_bytes(), pickle.dumps(Evil()), b"", b"PK\x05\x06" + bytes(18), path.read_bytes()[:300]]
    torch.save({"a": torch.eye(2).to_sparse()}, path)
    for content in [*contents, path.read_bytes()]:
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"^(Download|Choose) ") as caught:
            read_foreign(path)
        assert "weights_only" not in str(caught.value)  # no advice to run it
    with pytest.raises(UserError, match=r"^Download the \.bin or \.pth that lies beside .*w\.safetensors"):
        read_foreign(path.rename(tmp_path / "w.safetensors"))
    path.write_bytes(content)
    monkeypatch.setattr("ifrvis.training.foreign.MAX_WEIGHTS_BYTES", 100)
    with pytest.raises(UserError, match=r"^Give a smaller file .* at most 100"):
        read_foreign(path)
    with pytest.raises(DataMissingError, match=r"^Check the path"):
        read_foreign(tmp_path / "absent.pkl")
    assert capsys.readouterr().out == ""
