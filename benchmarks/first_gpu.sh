#!/usr/bin/env bash
# The first quarter of an hour on a GPU: whether the harness works there, and how fast. Prints a line
# for each step and, last, one JSON document; ends within 10 minutes, whatever goes wrong.
#
#   benchmarks/first_gpu.sh                       on the GPU, at full size
#   benchmarks/first_gpu.sh --tiny --device cpu   the same steps at tiny sizes, to try the script
#   benchmarks/first_gpu.sh --out first_gpu.json  the document into a file too
set -euo pipefail
cd "$(dirname "$0")/.."
export HF_HUB_OFFLINE=1 # nothing is downloaded: weights are random, or come with the package
exec "${PYTHON:-.venv/bin/python}" -P benchmarks/first_gpu.py "$@"
