"""How a run is distributed over processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh


def make_strategy(name: str, devices: int) -> Any:
    """Return Fabric's strategy: each process holds a copy of the model, or a part of each layer."""
    if name == "fsdp":
        from lightning_fabric.strategies.model_parallel import ModelParallelStrategy

        return ModelParallelStrategy(
            _shard, data_parallel_size=devices, tensor_parallel_size=1,
            save_distributed_checkpoint=False,
        )  # fmt: skip
    if name == "auto" and devices == 1:
        return "auto"
    from lightning_fabric.strategies.ddp import DDPStrategy

    return DDPStrategy()


def _shard(task: nn.Module, mesh: DeviceMesh) -> nn.Module:
    """Shard each Bi-Mamba layer separately, then the rest."""
    from torch.distributed.fsdp import fully_shard

    from genemamba.network.mamba2 import BiMambaLayer

    for layer in task.modules():
        if isinstance(layer, BiMambaLayer):
            fully_shard(layer, mesh=mesh["data_parallel"])
    fully_shard(task, mesh=mesh["data_parallel"])
    return task
