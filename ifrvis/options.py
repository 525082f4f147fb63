"""What options may be, by dotted key, for the models and for specifications, which know no torch.

Types are the recipe's; here is what a value of the right type can still be known to be wrong in, before hours of queue.
"""

from collections.abc import Iterator
from itertools import chain
from typing import Any

from ifrvis.errors import UserError

MAX_SIDE = 16384  # pixels
RESIZES = ("pillow", "opencv")
WORDS: dict[str, tuple[Any, ...]] = {
    "train.precision": ("fp32", "amp"),
    "inference.mode": ("whole", "clips"),
    "train.sampler.around": ("videos", "frames"),
    "train.pipeline.resize": RESIZES,
    "inference.resize": RESIZES,
    "model.track_head.class_loss": ("softmax", "focal"),
    "model.track_head.key_positions": ("3d", "2d"),
    "model.track_head.decoder_init": ("xavier_uniform", "xavier_normal"),
    "model.track_head.cross_frame_sum": ("sum", "mean"),
    "model.track_head.temporal_keys": ("all", "own"),
    "model.backbone.depth": (18, 34, 50, 101, 152),
    "model.backbone.style": ("pytorch", "caffe"),
    "model.backbone.out_indices": ([0, 1, 2, 3],),  # heads take four levels
}
# Intervals, and the keys whose numbers lie in them: each number of a list, null aside.
INTERVALS = {
    # What more would ask for is refused before hours of queue: sides of a frame in pixels, threads and frames of a
    # clip, layers and counts of a model, numbers of points, iterations.
    "[1, 16384]": """train.pipeline.crop.sides train.pipeline.crop.smallest train.pipeline.crop.largest
        train.pipeline.sides train.pipeline.max_side inference.side inference.max_side
        model.backbone.pretrain_img_size""",
    "[1, 1024]": """train.threads train.sampler.num_frames model.track_head.encoder.num_layers
        model.track_head.encoder.num_heads model.track_head.encoder.num_points model.track_head.decoder.num_layers
        model.track_head.decoder.num_heads model.track_head.decoder.num_points model.backbone.depths
        model.backbone.num_heads model.backbone.window_size model.backbone.norm_cfg.num_groups
        model.data_preprocessor.pad_size_divisor""",
    "[1, 65536]": """train.global_batch inference.clip_frames inference.stride model.track_head.feat_channels
        model.track_head.num_queries model.track_head.oversample_ratio model.track_head.in_channels
        model.track_head.encoder.feedforward_channels model.track_head.decoder.feedforward_channels
        model.backbone.base_channels model.backbone.stem_channels model.backbone.embed_dims
        model.track_head.mask_channels""",
    "[1, 1000000000]": """train.iterations train.schedule.milestones inference.topk model.track_head.num_points""",
    "[1, inf)": "inference.tta",  # whose sides have the same bound, below
    "[0, inf)": """train.sampler.frame_range train.optimizer.lr train.optimizer.weight_decay
        train.optimizer.backbone_lr_mult model.track_head.no_object_weight model.track_head.loss_weights.cls
        model.track_head.loss_weights.mask model.track_head.loss_weights.dice model.track_head.lambda_e
        model.track_head.focal.gamma model.track_head.loss_weights.box model.track_head.loss_weights.giou
        train.optimizer.lr_mults.reference_points train.optimizer.lr_mults.sampling_offsets""",
    "(0, inf)": """train.optimizer.eps train.optimizer.clip_grad train.schedule.gamma model.backbone.mlp_ratio
        model.backbone.norm_cfg.eps model.data_preprocessor.std""",
    "[0, 1]": """train.pipeline.flip train.pipeline.crop.probability
        inference.min_class_score inference.min_overlap model.track_head.importance_ratio
        model.track_head.focal.alpha model.backbone.norm_cfg.momentum""",
    "[0, 1)": "train.optimizer.betas model.backbone.drop_path_rate model.track_head.dropout",
    "(0, 1)": "model.track_head.focal.prior",
    "[-1, 4]": "model.backbone.frozen_stages",
    "[4, 4]": "model.backbone.num_stages",
}
INTERVAL_OF = {key: interval for interval, keys in INTERVALS.items() for key in keys.split()}


def check_options(config: dict[str, Any], where: str) -> None:
    """Refuse (UserError) the first value of a composed recipe, named in `where`, that cannot be, or not with others."""
    for key, value in leaves(config).items():
        if key in WORDS and value not in WORDS[key]:
            raise UserError(f"Set {key} in {where} to one of {', '.join(map(str, WORDS[key]))}: it is {value!r}.")
        interval = INTERVAL_OF.get(key)
        if interval and not _lies_in(value, interval):
            raise UserError(f"Set {key} in {where} to what lies in {interval}: it is {value!r}.")
    for holds, advice in chain(_lengths(**config), _widths(**config)):  # each asks only what those before leave whole
        if not holds:
            raise UserError(f"{advice} (in {where}).")


def leaves(config: dict[str, Any]) -> dict[str, Any]:
    """Every value within mappings by its dotted path; lists are whole."""
    nested = {key: value for key, value in config.items() if isinstance(value, dict) and value}
    found = {key: value for key, value in config.items() if key not in nested}
    for key, inner in nested.items():
        found |= {f"{key}.{path}": value for path, value in leaves(inner).items()}
    return found


def _lies_in(value: Any, interval: str) -> bool:
    """Whether a number, or each of a list that is not empty, lies in an interval; null always does."""
    if isinstance(value, list):
        return bool(value) and all(_lies_in(each, interval) for each in value)
    if type(value) not in (int, float):
        return value is None
    low, high = map(float, interval[1:-1].split(","))
    above = value >= low if interval[0] == "[" else value > low
    return bool(above and (value <= high if interval[-1] == "]" else value < high))


def _lengths(inference: dict[str, Any], train: dict[str, Any] | None = None, **_: Any) -> Iterator[tuple[bool, str]]:
    milestones = train["schedule"]["milestones"] if train else []
    crop = (train["pipeline"].get("crop") if train else None) or {"smallest": 0, "largest": 0}
    smallest, largest = crop["smallest"], crop["largest"]
    advice = "Set train.pipeline.crop.smallest to at most train.pipeline.crop.largest"
    yield smallest <= largest, f"{advice}: they are {smallest} and {largest}"
    yield milestones == sorted(set(milestones)), f"Let train.schedule.milestones rise: they are {milestones}"
    sizes = inference["tta"] or []
    whole = all(type(each) is int and each <= MAX_SIDE for each in sizes)
    yield whole, f"Set inference.tta to whole pixels, such as [360, 480]: got {sizes}"
    clip, stride = inference["clip_frames"], inference["stride"]
    advice = "Set inference.clip_frames to the length of a clip and inference.stride from 1 to that"
    yield inference["mode"] == "whole" or stride <= (clip or 0), f"{advice}: got {clip} and {stride}"


def _widths(model: dict[str, Any] | None = None, **_: Any) -> Iterator[tuple[bool, str]]:
    """What parts of the packaged models ask of each other; heads and backbones of other packages are let alone."""
    head, backbone = (model or {}).get("track_head", {}), (model or {}).get("backbone", {})
    frame_codes = (head.get("type"), head.get("key_positions")) == ("IFRHead", "3d")
    yield not frame_codes, "Set model.track_head.key_positions to 2d: in this method 3d would change nothing"
    width, widths = head.get("feat_channels", 0), []
    for heads in (4, *(head.get(part, {}).get("num_heads", 1) for part in ("encoder", "decoder"))):  # 4: codes of place
        yield width % heads == 0, f"Make model.track_head.feat_channels a multiple of {heads}: it is {width}"
    if backbone.get("type") == "ResNet":
        base, stem, norm = backbone["base_channels"], backbone["stem_channels"], backbone["norm_cfg"]
        groups = norm.get("num_groups", 1)
        typed = type(groups) is int and type(norm.get("requires_grad", True)) is bool and norm.get("eps", 1) is not None
        yield typed, "Give model.backbone.norm_cfg a whole num_groups, true or false as requires_grad, a number as eps"
        grouped = (norm.get("type") == "GN") == ("num_groups" in norm)
        yield grouped, "Give model.backbone.norm_cfg num_groups if it is of type GN, else none"
        advice = f"Make base_channels and stem_channels of model.backbone multiples of the {groups} groups of its norm"
        yield base % groups == stem % groups == 0, advice
        widths = [base * (4 if backbone["depth"] >= 50 else 1) * 2**level for level in range(4)]
    if backbone.get("type") == "SwinTransformer":
        widths = [backbone["embed_dims"] * 2**level for level in range(4)]
        for channels, heads in zip(widths, backbone["num_heads"]):
            advice = f"Let model.backbone.num_heads divide its channels: {channels} has {heads} heads"
            yield channels % heads == 0, advice
    given = head.get("in_channels")
    advice = f"Set model.track_head.in_channels to {widths}, those of the backbone: got {given}"
    yield not widths or given == widths, advice
