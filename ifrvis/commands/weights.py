"""`ifrvis weights convert`: starting weights from other programs' checkpoints."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ifrvis.commands.selection import add_command, whole
from ifrvis.commands.terminal import answer
from ifrvis.errors import UserError

if TYPE_CHECKING:
    from ifrvis.training.convert import Report


def add_commands(commands: Any) -> None:
    """Add the commands about starting weights."""
    parser = commands.add_parser("weights", help="prepare the weights that training starts from")
    group = parser.add_subparsers(required=True, metavar="ACTION")
    text = "turn a COCO Mask2Former, or an ImageNet Swin or ResNet, into weights that rows start from"
    parser = add_command(group, "convert", _convert, text, "--json")
    parser.add_argument("source", type=Path, help="checkpoint, as .pkl, .pth or .bin")
    parser.add_argument("out", type=Path, help="file to write, such as data/weights/mask2former_r50_coco_instance.pth")
    text = "r50, r101, swin-t, swin-s, swin-b or swin-l (default: what the checkpoint is of)"
    parser.add_argument("--backbone", help=text)
    parser.add_argument("--method", default="mask2former", help="whose parameters to report on (default: mask2former)")
    parser.add_argument("--queries", type=whole(), metavar="N", help="keep the first N queries: other weights")
    text = "all of a trained Mask2Former-VIS or SeqFormer, to predict and score with it, not to start from it"
    parser.add_argument("--trained", action="store_true", help=text)


def _convert(arguments: argparse.Namespace) -> int:
    from ifrvis.harness.spec.allowed import register_types
    from ifrvis.harness.spec.compose import compose
    from ifrvis.harness.spec.profiles import default_profiles
    from ifrvis.harness.spec.recipes import names_of
    from ifrvis.training.convert import convert, model_shapes

    if arguments.trained and arguments.queries:
        raise UserError("Leave out --queries or --trained: a trained model is kept as a whole.")

    def shapes(backbone: str) -> Any:
        changed = {"--queries": {"model.track_head.num_queries": arguments.queries} if arguments.queries else {}}
        schedule, profile = names_of("schedules")[0], default_profiles()[0]  # any schedule: the model is the same
        model = compose(arguments.method, backbone, schedule, profile, changed, num_classes=40).model
        register_types(model)
        return model_shapes(model)

    given = {"backbone": arguments.backbone, "queries": arguments.queries, "trained": arguments.trained}
    report = convert(arguments.source, arguments.out, shapes=shapes, **given)
    answer(arguments, vars(report), _lines(report, arguments))
    return 0


def _lines(report: "Report", arguments: argparse.Namespace) -> list[str]:
    queries = f", {report.queries} queries" if report.queries else ""
    lines = [
        f"wrote {arguments.out}: {report.name}{queries}, by the names of {report.source['names']}",
        f"for {arguments.method}: {len(report.loaded)} parameters as they were, {len(report.remapped)} under another "
        f"name or in another order, {sum(map(len, report.random.values()))} at random",
    ]
    lines += [f"  random: {len(names)} x {reason}: {_few(names)}" for reason, names in report.random.items()]
    return lines + ([f"  unused: {len(report.unused)}: {_few(report.unused)}"] if report.unused else [])


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + ", ..." * (len(names) > 3)
