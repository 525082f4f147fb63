#!/usr/bin/env bash
# The runs of docs/mini-study.md in their order, with what `ifrvis run` takes after it (--jobs 2).
# Within a step seed 0 of all rows comes first. Ctrl-C stops it at the next safe point; the same command goes on.
set -euo pipefail
run() { .venv/bin/ifrvis run "$@" || (($? == 1)); } # a row that failed, or has not learned, holds up no other
methods=({mask2former,ours}-r50{,-frames{2,6,12,24}}-ytvis{19,21} ours-r50-lambda{0,0.1,0.3,0.5,1.0}-ytvis19)
rows=$(IFS=,; echo "${methods[*]}")
run table3 figure4 length --profile mini --rows "$rows" "$@"
run ablation length ovis --profile mini "$@"
run real --profile real "$@"
run table1 table2 table3 table4 --profile mini "$@" --seeds 1
