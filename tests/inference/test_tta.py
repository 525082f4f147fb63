"""Matching of views and their averages."""

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment

from ifrvis.errors import UserError
from ifrvis.inference.clips import WholeTracks
from ifrvis.inference.encoding import View
from ifrvis.inference.tta import MatchedTracks, average_probs, match, pivot_of, pivot_position
from ifrvis.models.attention import Level
from ifrvis.models.decoding import MaskDecoder

WEIGHTS = {"cls": 2.0, "mask": 5.0, "dice": 5.0}


def view_of(masks, probs, view):
    """Tracks whose mask logits at stride 8 are given, (N, T, h, w): the features are the masks themselves."""
    embeds = torch.eye(len(masks)).expand(masks.shape[1], -1, -1)
    return (
        WholeTracks(probs, embeds, MaskDecoder()),
        Level(torch.zeros(masks.shape[1], 1, 1), masks.transpose(0, 1)),
        view,
    )


def boxes(size, places, flip=False):
    """Logits of boxes given as fractions (left, top, right, bottom), padded to multiples of 32."""
    view = View(size, flip)
    height, width = (side // 8 for side in view.padded)
    y = (torch.arange(height) + 0.5) * 8 / size[0]
    x = (torch.arange(width) + 0.5) * 8 / size[1]
    x = 1 - x if flip else x
    logits = [((x > a) & (x < c) & ((y > b) & (y < d))[:, None]).float() * 12 - 6 for a, b, c, d in places]
    return torch.stack(logits)[:, None].expand(-1, 2, -1, -1).contiguous(), view


PLACES = [(0.0, 0.0, 0.4, 0.5), (0.5, 0.1, 0.9, 0.6), (0.1, 0.6, 0.8, 1.0)]


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("pivot_flip", [False, True])
@pytest.mark.parametrize("size", [(64, 96), (100, 140), (120, 180)])
def test_an_object_is_found_again_at_any_size_and_mirrored(size, flip, pivot_flip):
    probs = torch.full((3, 2), 0.5)
    tracks, level, view = view_of(*boxes((80, 120), PLACES, pivot_flip)[:1], probs, View((80, 120), pivot_flip))
    pivot = pivot_of(tracks, level, view)
    order = [2, 0, 1]
    masks, view = boxes(size, [PLACES[i] for i in order], flip)
    found = match(*view_of(masks, probs, view), pivot, WEIGHTS)
    assert [order[i] for i in found.index.tolist()] == [0, 1, 2]


def test_the_cost_is_that_of_equation_4_over_all_frames(rng):
    size, num = (64, 64), 4
    logits = [torch.from_numpy(rng.normal(scale=3, size=(num, 3, 8, 8)).astype(np.float32)) for _ in range(2)]
    probs = [torch.from_numpy(rng.random((num, 3)).astype(np.float32)) for _ in range(2)]
    pivot = pivot_of(*view_of(logits[0], probs[0], View(size)))
    found = match(*view_of(logits[1], probs[1], View(size)), pivot, WEIGHTS)
    costs = np.zeros((num, num))
    for n in range(num):
        for m in range(num):
            p = 1 / (1 + np.exp(-logits[1][n].double().numpy()))
            y = logits[0][m].numpy() > 0
            bce = -(y * np.log(p) + (1 - y) * np.log(1 - p)).mean()
            dice = 1 - (2 * (p * y).sum() + 1) / (p.sum() + y.sum() + 1)
            costs[n, m] = 5 * bce + 5 * dice - 2 * probs[1][n, probs[0][m].argmax()]
    rows, columns = linear_sum_assignment(costs)
    assert found.index.tolist() == [int(rows[list(columns).index(m)]) for m in range(num)]


def test_what_has_no_partner_leaves_the_others_to_decide():
    tracks = WholeTracks(torch.tensor([[0.2, 0.4]]), torch.ones(1, 1, 3), MaskDecoder())
    both = WholeTracks(torch.tensor([[0.6, 0.0], [0.1, 0.3]]), torch.ones(1, 2, 3), MaskDecoder())
    views = [MatchedTracks(both, torch.tensor([0, 1])), MatchedTracks(tracks, torch.tensor([0, -1]))]
    torch.testing.assert_close(average_probs(views), torch.tensor([[0.4, 0.2], [0.1, 0.3]]))
    maps = torch.arange(6.0).view(3, 1, 2)
    assert views[1].mask_logits(0, maps, torch.tensor([1, 0])).tolist() == [[[0, 0]], [[6, 9]]]


def test_views_may_find_nothing():
    masks, view = boxes((64, 64), PLACES)
    tracks = WholeTracks(torch.zeros(0, 2), torch.zeros(2, 0, 3), MaskDecoder())
    nothing = tracks, Level(torch.zeros(2, 1, 1), torch.zeros(2, 3, 8, 8))
    pivot = pivot_of(*view_of(masks, torch.rand(3, 2), view))
    found = match(*nothing, view, pivot, WEIGHTS)
    assert found.index.tolist() == [-1, -1, -1]
    assert not found.mask_logits(0, torch.ones(3, 2, 4), torch.arange(3)).any()
    assert len(match(*view_of(masks, torch.rand(3, 2), view), pivot_of(*nothing, view), WEIGHTS).index) == 0


def test_masks_that_are_not_finite_are_an_error():
    masks, view = boxes((64, 64), PLACES)
    pivot = pivot_of(*view_of(masks, torch.rand(3, 2), view))
    with pytest.raises(UserError, match="Check the weights"):
        match(*view_of(masks * torch.nan, torch.rand(3, 2), view), pivot, WEIGHTS)


def test_the_pivot_is_a_draw_from_seed_and_video():
    drawn = [pivot_position(4, seed=seed, video_id=video) for seed in range(20) for video in (1, "1", 2)]
    assert drawn == [pivot_position(4, seed=seed, video_id=video) for seed in range(20) for video in (1, "1", 2)]
    assert [drawn.count(position) > 5 for position in range(4)] == [True] * 4
    assert drawn[0::3] != drawn[1::3] != drawn[2::3]
