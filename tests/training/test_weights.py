"""Trained weights of another data set, size or method are told apart."""

import pytest
import torch

from ifrvis.errors import UserError
from ifrvis.harness.spec.compose import compose
from ifrvis.harness.spec.profiles import load_profile
from ifrvis.training.build import build_model
from ifrvis.training.weights import load_trained, packed_weights


def thin(method, num_classes):
    return build_model(compose(method, "r50", "ytvis19", load_profile("smoke"), num_classes=num_classes).model, seed=0)


@pytest.mark.parametrize(("method", "outputs"), [("mask2former", (5, 4)), ("seqformer", (4, 3))])
def test_weights_for_other_classes_are_named_as_such(tmp_path, method, outputs):
    path = tmp_path / "weights.pth"
    path.write_bytes(packed_weights(thin(method, 4)))
    said = r"^Give weights for the classes of this data set.* has {} outputs, the model has {}\.$".format(*outputs)
    with pytest.raises(UserError, match=said):
        load_trained(thin(method, 3), path)


@pytest.mark.parametrize("bad", [torch.full((4,), torch.nan), torch.zeros(4).to_sparse(), torch.zeros(4) * 1j])
def test_trained_weights_that_are_no_finite_real_numbers_are_refused(tmp_path, bad):
    torch.save({**thin("seqformer", 4).state_dict(), "track_head.cls_embed.0.bias": bad}, tmp_path / "w.pth")
    with pytest.raises(UserError, match=r"^Replace .*: track_head\.cls_embed\.0\.bias is not a dense tensor of finite"):
        load_trained(thin("seqformer", 4), tmp_path / "w.pth")
