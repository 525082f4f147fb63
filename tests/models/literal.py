"""The equations written out with loops, to compare the fast code with. Nothing here is shared with it but weights.

Shape letters as in the code: B clips, T frames, N queries, M instances, K classes, C channels, L keys.
"""

import math

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch.nn import functional as F


def attn(module, queries, keys, values, mask=None):
    """Eq. (1), head by head: (N, C), (L, C), (L, C); `mask` (N, L) is True where a query may look."""
    w_q, w_k, w_v = module.in_proj_weight.chunk(3)
    b_q, b_k, b_v = module.in_proj_bias.chunk(3)
    q, k, v = queries @ w_q.T + b_q, keys @ w_k.T + b_k, values @ w_v.T + b_v
    size = q.shape[1] // module.num_heads
    heads = []
    for a in range(module.num_heads):
        part = slice(a * size, (a + 1) * size)
        scores = q[:, part] @ k[:, part].T / math.sqrt(size)
        if mask is not None:
            scores = scores.masked_fill(~mask, -math.inf)
        heads.append(scores.softmax(-1) @ v[:, part])
    return torch.cat(heads, 1) @ module.out_proj.weight.T + module.out_proj.bias


def sine_positions(height, width, channels):
    """The 2D sine code of DETR, (L, C)."""
    half = channels // 2
    rows = []
    for y in range(1, height + 1):
        for x in range(1, width + 1):
            code = []
            for place, extent in ((y, height), (x, width)):
                angle = place / (extent + 1e-6) * 2 * math.pi
                for i in range(half):
                    value = angle / 10000 ** (2 * (i // 2) / half)
                    code.append(math.sin(value) if i % 2 == 0 else math.cos(value))
            rows.append(code)
    return torch.tensor(rows)


def mask_of(mask_logits, size):
    """M for one frame from (N, H, W) logits: resized, then thresholded; all True for a query without a mask."""
    resized = F.interpolate(mask_logits[None], size, mode="bilinear", align_corners=False)[0].flatten(1)
    margin = float(resized.detach().abs().min())
    mask = resized > 0
    return torch.stack([row if row.any() else torch.ones_like(row) for row in mask]), margin


def ifr_decoder(
    head, mask_features, memories, masks=None, code=sine_positions, recurrence=True, residual=True, own_keys=False
):
    """Sec. 3.1 for one clip.

    Args:
        head: Holds the weights.
        mask_features: (T, C, H, W).
        memories: Three of (T, C, H_l, W_l), low resolution first.
        masks: M of every layer, (T, N, L) bool; predicted here if None.
        code: Positions (L, C) of a height, a width and C channels.
        recurrence: Whether Q^{t-1} is what Eq. (2) says; else the clip-level queries.
        residual: Whether Eq. (2) adds what was seen to what asked.
        own_keys: Whether each clip-level query sees its own frame-level queries alone; else all.

    Returns:
        Class logits (N, K) and mask logits (N, T, H, W) of every prediction, and how near to 0 a mask logit came.
    """
    num_frames, decoder, pos = len(mask_features), head.transformer_decoder, head.query_embed.weight
    clip = head.query_feat.weight
    margins = []

    def predict(clip_queries, frame_queries):
        classes = head.cls_embed(decoder.post_norm(clip_queries))
        embeds = [head.mask_embed(decoder.post_norm(q)) for q in frame_queries]
        return classes, torch.stack([torch.einsum("nc,chw->nhw", e, f) for e, f in zip(embeds, mask_features)], dim=1)

    outputs = [predict(clip, [clip] * num_frames)]
    for i, layer in enumerate(head._layers()):
        level = i % 3
        height, width = memories[level].shape[-2:]
        positions = code(height, width, clip.shape[1]).to(clip)
        frames = []
        previous = clip  # Q^0_i
        for t in range(num_frames):
            values = memories[level][t].flatten(1).T + head.level_embed.weight[level]
            keys = values + positions
            if masks is None:
                mask, margin = mask_of(outputs[-1][1][:, t].detach(), (height, width))
                margins.append(margin)
            else:
                mask = masks[i][t]
            cross, own = layer.cross_attn.attn, layer.self_attn.attn
            first = layer.norms[0](residual * previous + attn(cross, previous + pos, keys, values, mask))  # Eq. (2)
            second = layer.norms[0](residual * clip + attn(cross, clip + pos, keys, values, mask))
            both, both_pos = torch.cat([first, second]), torch.cat([pos, pos])
            mixed = layer.norms[1](both + attn(own, both + both_pos, both + both_pos, both))  # Eq. (3)
            previous = mixed.chunk(2)[0]
            previous = layer.norms[2](previous + feed_forward(layer.ffn, previous))
            frames.append(previous)
            previous = previous if recurrence else clip
        everything, everything_pos = torch.cat(frames), pos.repeat(num_frames, 1)
        of_query = torch.arange(len(clip)).repeat(num_frames)
        theirs = (of_query == torch.arange(len(clip))[:, None]) if own_keys else None
        seen = attn(layer.temporal_attn, clip + pos, everything + everything_pos, everything, theirs)
        clip = layer.clip_norms[0](clip + seen)
        clip = layer.clip_norms[1](clip + attn(layer.clip_attn, clip + pos, clip + pos, clip))
        clip = layer.clip_norms[2](clip + feed_forward(layer.clip_ffn, clip))
        outputs.append(predict(clip, frames))
    return outputs, min(margins, default=math.inf)


def feed_forward(ffn, x):
    (first, *_), second = ffn.layers[0], ffn.layers[1]
    return (x @ first.weight.T + first.bias).relu() @ second.weight.T + second.bias


def at(maps, points):
    """Bilinear values: (R, C, H, W) at (R, P, 2)."""
    return F.grid_sample(maps, 2 * points[:, None] - 1, align_corners=False)[:, :, 0]


def bce_and_dice(logits, targets):
    """Mean cross-entropy and one minus dice of one mask at its points, (P,) each."""
    probs = logits.sigmoid()
    overlap = (2 * (probs * targets).sum() + 1) / (probs.sum() + targets.sum() + 1)
    return F.binary_cross_entropy_with_logits(logits, targets), 1 - overlap


def uncertain(masks, num_points, draws):
    """Points of each of (R, H, W) masks: three times as many candidates, three quarters kept, the rest fresh."""
    candidates = torch.rand(len(masks), 3 * num_points, 2, generator=draws)
    kept = int(0.75 * num_points)
    fresh = torch.rand(len(masks), num_points - kept, 2, generator=draws)
    rows = []
    for mask, points, others in zip(masks, candidates, fresh):
        order = at(mask[None, None], points[None])[0, 0].abs().argsort()
        rows.append(torch.cat([points[order[:kept]], others]))
    return rows


def assign(head, class_probs, mask_logits, target, draws):
    """Eq. (4) for one clip: the query of each instance."""
    shared = torch.rand(1, head.supervision.num_points, 2, generator=draws)
    costs = np.zeros((len(mask_logits), len(target.labels)))
    class_probs, mask_logits = class_probs.detach(), mask_logits.detach()
    pred = at(mask_logits, shared.expand(len(mask_logits), -1, -1)).flatten(1)
    gt = at(target.gt_masks, shared.expand(len(target.labels), -1, -1)).flatten(1)
    for n in range(len(mask_logits)):
        for m, label in enumerate(target.labels):
            bce, dice = bce_and_dice(pred[n], gt[m])
            costs[n, m] = float(-2 * class_probs[n, label] + 5 * bce + 5 * dice)
    rows, columns = linear_sum_assignment(costs)
    return rows[np.argsort(columns)]


def mask_terms(head, embeds, features, target, queries, draws, cross_weight=0.0):
    """Eq. (6) and (7) of one layer for one clip, the sums over its instances and frames.

    Args:
        head: Holds the number of points.
        embeds: (T, N, C), of the query of each frame.
        features: (T, C, H, W).
        target: Its ground truth.
        queries: The query of each instance.
        draws: Source of the points: for each frame t2 its own masks first, then those by the queries of t1.
        cross_weight: Of the masks of frame t2 by the query of t1; lambda_e, or less.
    """
    masks, gts, weights = [], [], []
    for t2 in range(len(features)):
        for t1 in [t2] + [t for t in range(len(features)) if t != t2 and cross_weight]:
            for m, q in enumerate(queries):
                masks.append(torch.einsum("c,chw->hw", embeds[t1, q], features[t2]))
                gts.append(target.gt_masks[m, t2])
                weights.append(1.0 if t1 == t2 else cross_weight)
    bce, dice = 0.0, 0.0
    points = uncertain(torch.stack(masks).detach(), head.supervision.num_points, draws)
    for mask, gt, weight, at_points in zip(masks, gts, weights, points):
        maps = mask[None, None], gt[None, None]
        values = bce_and_dice(*(at(values, at_points[None])[0, 0] for values in maps))
        bce, dice = bce + weight * values[0], dice + weight * values[1]
    return bce, dice


def focal(cls_logits, classes):
    """Lin et al., Eq. (5), with alpha .25 and gamma 2, summed."""
    total = 0.0
    for logits, label in zip(cls_logits, classes):
        for k, logit in enumerate(logits):
            p, positive = logit.sigmoid(), k == int(label)
            p_t, alpha = (p, 0.25) if positive else (1 - p, 0.75)
            total = total - alpha * (1 - p_t) ** 2 * p_t.log()
    return total
