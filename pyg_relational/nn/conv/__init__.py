"""Layers between samples and proxies."""

from pyg_relational.nn.conv.prototype_scores import prototype_scores
from pyg_relational.nn.conv.proxy_attention_conv import ProxyAttentionConv
from pyg_relational.nn.conv.proxy_gatv2_conv import ProxyGATv2Conv
from pyg_relational.nn.conv.proxy_pool_conv import ProxyPoolConv
from pyg_relational.nn.conv.proxy_set import ProxySet

__all__ = ["ProxyAttentionConv", "ProxyGATv2Conv", "ProxyPoolConv", "ProxySet", "prototype_scores"]
