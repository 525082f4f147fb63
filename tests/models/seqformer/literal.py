"""SeqFormer written out with loops, to compare the fast code with. Nothing here is shared with it but weights.

Shape letters: T frames, Q queries, M instances, K classes, C channels, E channels of mask features.
"""

import math

import numpy as np
import torch
from models.literal import attn, feed_forward
from scipy.optimize import linear_sum_assignment


def sampled(values, x, y):
    """Bilinear value of a map (h, w, D) at (x, y) in [0, 1] of its extent; nothing beyond its cells."""
    height, width, _ = values.shape
    column, row = x * width - 0.5, y * height - 0.5
    left, top = math.floor(column.item()), math.floor(row.item())
    total = torch.zeros_like(values[0, 0])
    for i in (top, top + 1):
        for j in (left, left + 1):
            if 0 <= i < height and 0 <= j < width:
                total = total + values[i, j] * (1 - (row - i).abs()) * (1 - (column - j).abs())
    return total


def frame_attention(module, queries, references, maps, valid):
    """What queries see in one frame, before an output projection.

    Args:
        module: Holds the weights.
        queries: (Q, C), with their position.
        references: (Q, 2 or 4), relative to the frame without padding.
        maps: Levels, (h, w, C) each, the finest first.
        valid: Of each level the (rows, columns) that are no padding.
    """
    heads, levels, points = module.num_heads, module.num_levels, module.num_points
    size = queries.shape[1] // heads
    values = []
    for tokens, (rows, columns) in zip(maps, valid):
        value = tokens @ module.value_proj.weight.T + module.value_proj.bias
        inside = torch.zeros_like(value[..., :1])
        inside[:rows, :columns] = 1
        values.append(value * inside)
    results = []
    for query, reference in zip(queries, references):
        offsets = (module.sampling_offsets.weight @ query + module.sampling_offsets.bias).view(heads, levels, points, 2)
        weights = (module.attention_weights.weight @ query + module.attention_weights.bias).view(heads, levels * points)
        weights = weights.softmax(-1).view(heads, levels, points)
        seen = []
        for a in range(heads):
            total = torch.zeros(size, dtype=queries.dtype)
            for level in range(levels):
                height, width = maps[level].shape[:2]
                ratio = torch.tensor([valid[level][1] / width, valid[level][0] / height], dtype=queries.dtype)
                extent = torch.tensor([width, height], dtype=queries.dtype)
                for p in range(points):
                    if len(reference) == 2:
                        x, y = reference * ratio + offsets[a, level, p] / extent
                    else:
                        x, y = (reference[:2] + offsets[a, level, p] / points * reference[2:] * 0.5) * torch.ones(2)
                        x, y = torch.stack([x, y]) * ratio
                    part = values[level][..., a * size : (a + 1) * size]
                    total = total + weights[a, level, p] * sampled(part, x, y)
            seen.append(total)
        results.append(torch.cat(seen))
    return torch.stack(results)


def decoder_layer(layer, queries, boxes, positions, references, frames, valid):
    """One layer: instance queries (Q, C), box queries (T or 1, Q, C), references (T, Q, 2 or 4)."""
    cross = layer.cross_attn
    placed = queries + positions
    queries = layer.norms[0](queries + attn(layer.self_attn, placed, placed, queries))
    own = []
    for box in boxes:
        placed = box + positions
        own.append(layer.norms_box[0](box + attn(layer.self_attn_box, placed, placed, box)))
    own = own * len(frames) if len(own) == 1 else own
    seen, updated, scores = [], [], []
    for box, reference, maps in zip(own, references, frames):
        found = frame_attention(cross, box + positions, reference, maps, valid)
        of_box = found @ cross.output_proj_box.weight.T + cross.output_proj_box.bias
        box = layer.norms_box[1](box + of_box)
        box = layer.norms_box[2](box + feed_forward(layer.ffn_box, box))
        updated.append(box)
        scores.append(box @ layer.time_weight.weight[0] + layer.time_weight.bias)
        seen.append(found @ cross.output_proj.weight.T + cross.output_proj.bias)
    shares = torch.stack(scores).softmax(0)
    mixed = sum(share[:, None] * each for share, each in zip(shares, seen))
    queries = layer.norms[1](queries + mixed)
    return layer.norms[2](queries + feed_forward(layer.ffn, queries)), torch.stack(updated)


def inverse_sigmoid(x):
    return torch.log(x.clamp(min=1e-5) / (1 - x).clamp(min=1e-5))


def decoder(module, embeds, frames, valid):
    """Instance queries, boxes and entering references of every layer for one clip of frames, lists of levels."""
    positions, start = embeds.chunk(2, 1)
    queries, boxes = start, start[None]
    first = (positions @ module.reference_points.weight.T + module.reference_points.bias).sigmoid()
    references = torch.stack([first] * len(frames))
    outputs = []
    for layer, mlp in zip(module.layers, module.box_mlps):
        queries, boxes = decoder_layer(layer, queries, boxes, positions, references, frames, valid)
        shift = mlp.layers[2](mlp.layers[1](mlp.layers[0](boxes).relu()).relu())
        found = torch.empty_like(shift)
        for k in range(4):
            base = inverse_sigmoid(references[..., k]) if k < references.shape[-1] else 0.0
            found[..., k] = (shift[..., k] + base).sigmoid()
        outputs.append((queries, found, references[..., :2]))
        references = found.detach()
    return outputs


def dynamic_mask(parameters, reference, features, size):
    """Mask logits (h, w) of one instance in a frame: reference (x, y), features (E, h, w), size (height, width)."""
    channels, height, width = features.shape
    sizes = [(channels, channels + 2), (channels, channels), (1, channels)]
    weights, at = [], 0
    for rows, columns in sizes:
        weights.append(parameters[at : at + rows * columns].view(rows, columns))
        at += rows * columns
    biases = []
    for rows, _ in sizes:
        biases.append(parameters[at : at + rows])
        at += rows
    assert at == len(parameters)
    logits = torch.empty(height, width, dtype=features.dtype)
    for i in range(height):
        for j in range(width):
            x = torch.cat(
                [
                    torch.stack([reference[0] * size[1] - (8 * j + 4), reference[1] * size[0] - (8 * i + 4)]),
                    features[:, i, j],
                ]
            )
            x = (weights[0] @ x + biases[0]).clamp(min=0)
            x = (weights[1] @ x + biases[1]).clamp(min=0)
            logits[i, j] = (weights[2] @ x + biases[2])[0]
    return logits


def upsampled(logits):
    """(h, w) to (2 h, 2 w): replicated border, aligned corners, and the first row and column again."""
    height, width = logits.shape

    def cell(i, j):
        return logits[min(i, height - 1), min(j, width - 1)]

    def between(i, j):  # of (2 h + 1, 2 w + 1) with aligned corners: half a cell apart
        corners = [cell(i // 2 + a, j // 2 + b) for a in range(1 + i % 2) for b in range(1 + j % 2)]
        return sum(corners) / len(corners)

    rows = [[between(max(i - 1, 0), max(j - 1, 0)) for j in range(2 * width)] for i in range(2 * height)]
    return torch.stack([torch.stack(row) for row in rows])


def giou(a, b):
    """Generalised IoU of two boxes, (x, y, w, h) each."""
    (ax, ay, aw, ah), (bx, by, bw, bh) = a.tolist(), b.tolist()
    across = min(ax + aw / 2, bx + bw / 2) - max(ax - aw / 2, bx - bw / 2)
    down = min(ay + ah / 2, by + bh / 2) - max(ay - ah / 2, by - bh / 2)
    both = max(across, 0) * max(down, 0)
    union = aw * ah + bw * bh - both
    hull = (max(ax + aw / 2, bx + bw / 2) - min(ax - aw / 2, bx - bw / 2)) * (
        max(ay + ah / 2, by + bh / 2) - min(ay - ah / 2, by - bh / 2)
    )
    return both / union - (hull - union) / hull


def focal(logit, positive):
    p = 1 / (1 + math.exp(-float(logit)))
    return -0.25 * (1 - p) ** 2 * math.log(p) if positive else -0.75 * p**2 * math.log(1 - p)


def boxes_of(masks, size):
    """Boxes (M, T, 4) around masks (M, T, H, W)."""
    found = torch.zeros(*masks.shape[:2], 4, dtype=torch.float64)
    for m, of_instance in enumerate(masks):
        for t, mask in enumerate(of_instance):
            rows, columns = np.nonzero(mask.numpy())
            if len(rows):
                top, bottom, left, right = rows.min(), rows.max() + 1, columns.min(), columns.max() + 1
                found[m, t, 0], found[m, t, 1] = (left + right) / 2 / size[1], (top + bottom) / 2 / size[0]
                found[m, t, 2], found[m, t, 3] = (right - left) / size[1], (bottom - top) / size[0]
    return found.clamp(min=1e-6)


def clip_losses(cls_logits, boxes, mask_logits, labels, gt_masks, size):
    """Class, L1, GIoU, mask and dice losses of a clip under one layer, without weights, summed over instances.

    Args:
        cls_logits: (Q, K).
        boxes: (T, Q, 4).
        mask_logits: (Q, T, H / 4, W / 4).
        labels: (M,).
        gt_masks: (M, T, H, W).
        size: Of the frame without padding.
    """
    gt_boxes, num_frames = boxes_of(gt_masks, size), len(boxes)
    costs = np.zeros((len(cls_logits), len(labels)))
    for q in range(len(cls_logits)):
        for m, label in enumerate(labels.tolist()):
            p = 1 / (1 + math.exp(-float(cls_logits[q, label])))
            positive, negative = -0.25 * (1 - p) ** 2 * math.log(p + 1e-8), -0.75 * p**2 * math.log(1 - p + 1e-8)
            distance = math.sqrt(sum(float((boxes[t, q] - gt_boxes[m, t]).square().sum()) for t in range(num_frames)))
            overlap = sum(giou(boxes[t, q], gt_boxes[m, t]) for t in range(num_frames)) / num_frames
            costs[q, m] = 2 * (positive - negative) + 5 * distance - 2 * overlap
    rows, columns = linear_sum_assignment(costs)
    cls = sum(
        focal(logit, (q in rows) and k == int(labels[columns[list(rows).index(q)]]))
        for q, logits in enumerate(cls_logits)
        for k, logit in enumerate(logits)
    )
    l1 = iou = mask = dice = 0.0
    for q, m in zip(rows, columns):
        for t in range(num_frames):
            l1 += float((boxes[t, q] - gt_boxes[m, t]).abs().sum()) / num_frames
            iou += (1 - giou(boxes[t, q], gt_boxes[m, t])) / num_frames
        targets = gt_masks[m, :, 2::4, 2::4].flatten().tolist()
        logits = mask_logits[q].flatten().tolist()
        mask += sum(focal(logit, bool(target)) for logit, target in zip(logits, targets)) / len(logits)
        probs = [1 / (1 + math.exp(-logit)) for logit in logits]
        both = sum(p * y for p, y in zip(probs, targets))
        dice += 1 - (2 * both + 1) / (sum(probs) + sum(targets) + 1)
    return cls, l1, iou, mask, dice
