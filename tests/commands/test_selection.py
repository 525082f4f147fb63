"""What the options say of a selection reaches another process whole."""

import argparse

import pytest

from ifrvis.commands.selection import request_of, selection_again, selection_arguments

CASES = [
    [],
    ["--rows", "ours-r50-ytvis19,mask2former-r50-ytvis19", "--seeds", "2"],
    ["--set", "train.iterations=3", "--set", "train.precision=fp32", "--no-shipped-weights"],
    ["--dataset", "mine.yaml", "--init", "weights.pth"],
]


@pytest.mark.parametrize("options", CASES)
def test_a_selection_typed_again_elsewhere_is_the_same(options, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    parser = argparse.ArgumentParser()
    selection_arguments(parser)
    given = parser.parse_args(["table1", "--profile", "smoke", "--data-root", "data", "--results", "r", *options])
    again = selection_again(given)
    monkeypatch.chdir("/")
    first, other = request_of(given)[0], request_of(parser.parse_args(again))[0]
    for key in ("tables", "profile", "rows", "num_seeds", "overrides", "no_shipped_weights"):
        assert getattr(first, key) == getattr(other, key), key
    assert other.data_root == tmp_path / "data"
    assert other.store.root == tmp_path / "r"
    assert (other.init and other.init.path) == (tmp_path / "weights.pth" if first.init else None)
    assert other.dataset == (str(tmp_path / "mine.yaml") if first.dataset else None)
