#!/usr/bin/env bash
# All that needs a GPU, in one command and without a network: parity, speed, training steps.
#
#     benchmarks/gpu.sh OUT [DATA [CORPUS]]
#
# Writes OUT/*.log (the last line of each is JSON). Needs the package with the extras cuda and train, pytest
# and transformers; DATA, the folder of labelled sets, for real cells; CORPUS, made by build-corpus, for a run
# of the recipe genemamba-mini that stops after 45 s and goes on when this is called again.
set -uo pipefail
out=${1:?usage: benchmarks/gpu.sh OUT [DATA [CORPUS]]} data=${2:-} corpus=${3:-}
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$out"
failed=0

part() { # NAME SECONDS COMMAND…
    local name=$1 most=$2 begun=$SECONDS
    shift 2
    timeout "$most" "$@" > "$out/$name.log" 2>&1 || { failed=1; echo "$name FAILED ($out/$name.log)"; }
    echo "$name: $((SECONDS - begun)) s"; tail -n 3 "$out/$name.log"
}

part doctor 30 genemamba doctor --device cuda
part parity 90 python -m pytest -q -p no:cacheprovider "$here/../tests/network/test_cuda.py"
part model 75 python "$here/inference.py" --device cuda --parts model,length,bert --batches 8 32
part model_triton 60 python "$here/inference.py" --device cuda --backend triton --parts model,length --batches 8 32
part model_torch 45 python "$here/inference.py" --device cuda --backend torch --parts length
if [ -n "$data" ]; then
    part cells 60 python "$here/inference.py" --device cuda --parts cells --cells 2000 --data "$data"
    part embed 45 python "$here/speed.py" --data "$data"
fi
if [ -n "$corpus" ]; then
    part train 75 genemamba pretrain genemamba-mini --corpus "$corpus" --out "$out/mini" --stop-after 45
fi
exit $failed
