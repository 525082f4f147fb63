"""Class losses; those of masks are tested where they are put together, in `test_supervision`."""

import torch
from models import literal

from ifrvis.models.losses import FocalClasses


def test_focal_loss_is_the_written_one_and_counts_no_object_as_no_class():
    cls_logits = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    classes = torch.tensor([0, 3, 2, 3, 1])
    torch.testing.assert_close(FocalClasses(0.25, 2.0).loss(cls_logits, classes), literal.focal(cls_logits, classes))
