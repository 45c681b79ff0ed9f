#!/usr/bin/env bash
# All checks and measurements that need a CUDA device, in one command and without a network.
#
#     OUT=out benchmarks/gpu_check.sh
#
# Writes OUT/gpu_check.log, where lines that begin with { are the measurements. LIMIT=480 seconds for all parts; a
# part that fails, or runs out of time, does not stop the others. Exit status: 1 if any did. Before: gpu_pack.sh.
set -uo pipefail
LIMIT=${LIMIT:-480}
. "$(dirname "${BASH_SOURCE[0]}")/_gpu.sh"
tests=("$python" -m pytest -q -rs -p no:cacheprovider)
time_model=("$python" "$here/inference.py" --device cuda --runs 3 --batches 8 32)
time_cells=("$python" "$here/inference.py" --device cuda --runs 3 --parts cells --cells 2000 --data "$kit/data")
doctor="import genemamba; d = genemamba.doctor(device='cuda', backend='cuda'); print(d); assert d.passed"

unpack site "$site" "$kit/site.tar.xz"
part device 30 "$python" -c "import torch; torch.zeros(1).cuda(); print(torch.cuda.get_device_name())"
part doctor 60 "$python" -c "$doctor"
part parity 120 "${tests[@]}" "$root/tests/network/test_cuda.py" "$root/tests/benchmarks/test_triton_read.py"
part model 75 "${time_model[@]}" --backend cuda --parts model,length,bert
part model_triton 60 "${time_model[@]}" --backend triton --parts model,length
part model_torch 60 "${time_model[@]}" --backend torch --parts model,length
if [ -e "$kit/data/pbmc3k.h5ad" ]; then
    part cells 60 "${time_cells[@]}" --backend cuda
    part cells_triton 45 "${time_cells[@]}" --backend triton
    part cells_torch 45 "${time_cells[@]}" --backend torch
    part speed 45 "$python" "$here/speed.py" --data "$kit/data"
fi
part tools 120 "${tests[@]}" "$root/tests/tl/test_cuda.py"
finish
