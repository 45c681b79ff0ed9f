#!/usr/bin/env bash
# What the benchmarks compare with, in an environment of its own: build/peers.
#
#     benchmarks/peers.sh                  then: build/peers/bin/python benchmarks NAME …
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
${PYTHON:-python3} -m venv build/peers
# transformers: Mamba-2 and BERT; lightning: training steps; scgraph-eval: a score; scVI. PCA, HVG and Harmony come
# with the package.
build/peers/bin/python -m pip install -c constraints.txt -e '.[benchmarks]' scvi-tools
# Symphony, which `map` compares with, in an environment of its own: it needs none of ours.
${PYTHON:-python3} -m venv build/symphony
build/symphony/bin/python -m pip install symphonypy harmonypy scanpy
build/peers/bin/python benchmarks
