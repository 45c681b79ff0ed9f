#!/usr/bin/env bash
# What gpu_check.sh and gpu_train.sh need on a GPU machine without a network, into build/gpu-check and build/gpu-train.
#
#     benchmarks/gpu_pack.sh KERNELS [DATA [CORPUS]]
#
# KERNELS: a tar archive of causal_conv1d and mamba_ssm as they install there. DATA: the folder of labelled sets,
# for real cells. CORPUS: made by build-corpus, for training; GENES=1024 are kept of each cell. PYTHON_VERSION=3.12
# is that of the GPU machine. Runs on Linux x86-64 with the package installed; gpu_wheels.txt names the wheels.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
kernels=${1:?usage: benchmarks/gpu_pack.sh KERNELS [DATA [CORPUS]]} data=${2:-} corpus=${3:-}
python=${PYTHON:-python3} version=${PYTHON_VERSION:-3.12}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

rm -rf build/gpu-check build/gpu-train
mkdir -p build/gpu-check/data build/gpu-train "$folder/site"
"$python" -m pip download --quiet --no-deps --only-binary :all: --python-version "$version" \
    -c constraints.txt -r benchmarks/gpu_wheels.txt -d "$folder/wheels"
# unpacked and packed again they take a quarter less, and need no pip there
"$python" -m pip install --quiet --no-index --no-deps --no-compile --only-binary :all: --python-version "$version" \
    --target "$folder/site" "$folder"/wheels/*.whl
tar xf "$kernels" -C "$folder/site"
tar cJf build/gpu-check/site.tar.xz -C "$folder" site
if [ -n "$data" ]; then
    [ ! -d "$data/bench" ] || data=$data/bench
    cp "$data/pbmc3k.h5ad" build/gpu-check/data/
fi
if [ -n "$corpus" ]; then
    "$python" benchmarks/cut_corpus.py "$corpus" "$folder/corpus" --genes "${GENES:-1024}"
    tar cJ -C "$folder" corpus | split -b 40m - build/gpu-train/corpus.tar.xz.
fi
du -ahb build/gpu-check build/gpu-train
echo "the checkout itself: $(git ls-files -z | xargs -0 du -chb | tail -n 1)"
