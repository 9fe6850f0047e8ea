"""The layers of CNN2Graph on a graph of one's own: a HeteroData whose images see three proxies each."""

import torch
from torch_geometric.data import HeteroData
from torch_geometric.nn import GATv2Conv

from pyg_relational.nn import ProxyGATv2Conv

torch.manual_seed(0)
data = HeteroData()
data["image"].x = torch.randn(6, 32)
data["proxy"].x = torch.randn(20, 16)
proxies = torch.stack([torch.randperm(20)[:3] for _ in range(6)]).flatten()
images = torch.arange(6).repeat_interleave(3)
data["proxy", "seen_by", "image"].edge_index = torch.stack([proxies, images])

conv = ProxyGATv2Conv((16, 32), 8, heads=2)
edges = data["proxy", "seen_by", "image"].edge_index
print("over the edges:", conv(data["image"].x, data["proxy"].x, edges).shape)
print("over all pairs:", conv(data["image"].x, data["proxy"].x).shape)

# Weights that PyG's layer has learned go on as they are.
peer = GATv2Conv((16, 32), 8, heads=2, add_self_loops=False)
conv = ProxyGATv2Conv.from_pyg(peer)
difference = conv(data["image"].x, data["proxy"].x, edges) - peer(
    (data["proxy"].x, data["image"].x), edges
)
print(f"difference to PyG's GATv2Conv: {difference.abs().max():.0e}")
