#!/usr/bin/env bash
# The runs of docs/mini-study.md in their order, with what `ifrvis run` takes after it (--jobs 2, --seeds 1).
# Within a step seed 0 of all rows comes first. Ctrl-C stops it at the next safe point; the same command goes on.
set -euo pipefail
methods=({mask2former,ours}-r50{,-frames{2,6,12,24}}-ytvis{19,21} ours-r50-lambda{0,0.1,0.3,0.5,1.0}-ytvis19)
rows=$(IFS=,; echo "${methods[*]}")
.venv/bin/ifrvis run table3 figure4 length --profile mini --rows "$rows" "$@"
.venv/bin/ifrvis run ablation length ovis --profile mini "$@"
.venv/bin/ifrvis run real --profile real "$@"
