#!/usr/bin/env bash
# Train the release recipe on a GPU machine for some seconds; resumes when it is called again.
#
#     OUT=out benchmarks/gpu_train.sh SECONDS [RECIPE [OPTIONS OF genemamba pretrain]]
#
# RECIPE is genemamba-mini, the corpus that of gpu_pack.sh. The run is in build/gpu-run, which the next call resumes;
# OUT/run.tar.gz.* has all of it but the state: the checkpoint when all steps are done, and metrics. LIMIT=590
# seconds for all parts. Exit status: 1 if one failed.
set -uo pipefail
seconds=${1:?usage: OUT=out benchmarks/gpu_train.sh SECONDS [RECIPE [OPTIONS]]} recipe=${2:-genemamba-mini}
shift $(($# < 2 ? $# : 2))
LIMIT=${LIMIT:-590}
. "$(dirname "${BASH_SOURCE[0]}")/_gpu.sh"
corpus=$root/build/gpu-corpus run=$root/build/gpu-run
command="import sys; from genemamba.cli import main; sys.exit(main())" # the package is not installed, but on the path
doctor="import sys, genemamba; d = genemamba.doctor(sys.argv[1]); print(d); assert d.passed"

unpack site "$site" "$kit/site.tar.xz"
unpack corpus "$corpus" "$root"/build/gpu-train/corpus.tar.xz.*
part train $((seconds + 60)) "$python" -c "$command" pretrain "$recipe" --corpus "$corpus" --out "$run" \
    --stop-after "$seconds" --accelerator cuda "$@"
[ ! -e "$run/model.safetensors" ] || part doctor 60 "$python" -c "$doctor" "$run"
[ ! -e "$run" ] || part pack 60 bash -euo pipefail -c \
    'tar cz --exclude state.pt -C "$1" . | split -b 15m - "$2/run.tar.gz."; ls -l "$2"' - "$run" "$OUT"
finish
