"""What ranks need, imported before they are forked."""

import torch.distributed.fsdp
import torch.nn.parallel  # noqa: F401
import torch_geometric.data  # noqa: F401

import pyg_relational.distributed.loss
import pyg_relational.nn
import pyg_relational.transforms  # noqa: F401
