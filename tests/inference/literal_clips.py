"""Clip tracking with buffers of everything, quadratic in the length of the video, and loops instead of products."""

import numpy as np
from scipy.optimize import linear_sum_assignment


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def track(clips, num_frames, min_overlap):
    """Tracks of clips in order.

    Args:
        clips: (start, class_probs (I, K), mask_logits (I, T, h, w)) of each.
        num_frames: Of the video.
        min_overlap: Soft IoU above which an instance continues a track.

    Returns:
        Class probabilities (N, K), mask logits (N, num_frames, h, w), and support (N, num_frames) bool.
    """
    limit = sum(len(probs) for _, probs, _ in clips)
    shape = clips[0][2].shape[2:]
    logits = np.zeros((len(clips), limit, num_frames, *shape))
    valid = np.zeros((len(clips), limit, num_frames), bool)
    probs = np.zeros((len(clips), limit, clips[0][1].shape[1]))
    num_tracks = 0
    for k, (start, class_probs, mask_logits) in enumerate(clips):
        clip_frames = mask_logits.shape[1]
        frames = range(start, start + clip_frames)
        scores = np.zeros((num_tracks, len(class_probs)))
        for n in range(num_tracks):
            for i in range(len(class_probs)):
                overlaps = []
                for stored in range(max(0, k - clip_frames), k):
                    shared = [t for t in frames if valid[stored, n, t]]
                    if shared:
                        m = sigmoid(logits[stored, n, shared])
                        new = sigmoid(mask_logits[i, [t - start for t in shared]])
                        overlaps.append((m * new).sum() / (m + new - m * new).sum())
                if overlaps and np.mean(overlaps) > min_overlap:
                    scores[n, i] = np.mean(overlaps)
        rows, columns = linear_sum_assignment(scores, maximize=True)
        track_of = {i: n for n, i in zip(rows, columns) if scores[n, i] > 0}
        for i in range(len(class_probs)):
            if i not in track_of:
                track_of[i] = num_tracks
                num_tracks += 1
            logits[k, track_of[i], start : start + clip_frames] = mask_logits[i]
            valid[k, track_of[i], start : start + clip_frames] = True
            probs[k, track_of[i]] = class_probs[i]
    counts = valid.sum(0)[:num_tracks]
    mean_logits = logits.sum(0)[:num_tracks] / np.maximum(counts, 1)[..., None, None]
    num_clips = valid.any(2).sum(0)[:num_tracks]
    return probs.sum(0)[:num_tracks] / np.maximum(num_clips, 1)[:, None], mean_logits, counts > 0
