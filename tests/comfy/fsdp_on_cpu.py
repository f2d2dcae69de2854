"""The training command with its weights split among CPU processes by FSDP.

PyTorch's FSDP runs on CPUs, but accelerate offers it on GPUs alone; this tells accelerate that the CPU will do.
Started by torchrun with ACCELERATE_USE_FSDP and what else accelerate's launcher sets.
"""

from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType

from apoavatar_core.training.__main__ import main

initialize = AcceleratorState.__init__


def initialize_with_fsdp(self, *arguments, fsdp_plugin=None, **options) -> None:
    initialize(self, *arguments, fsdp_plugin=fsdp_plugin, **options)
    if fsdp_plugin is not None:
        self.distributed_type = DistributedType.FSDP
        self.fsdp_plugin = fsdp_plugin
        print(f"FSDP {fsdp_plugin.fsdp_version} on the CPU", flush=True)


AcceleratorState.__init__ = initialize_with_fsdp

if __name__ == "__main__":
    main()
