"""Models put together from the layers."""

from pyg_relational.nn.models.cnn2graph import CNN2Graph, CNN2GraphOutput
from pyg_relational.nn.models.cnn2graph_loss import CNN2GraphLoss
from pyg_relational.nn.models.co_occurrence_gcn import CoOccurrenceGCN
from pyg_relational.nn.models.gat_embedding import GATEmbedding
from pyg_relational.nn.models.image_text_matching import ImageTextLosses, ImageTextMatching

__all__ = [
    "CNN2Graph",
    "CNN2GraphLoss",
    "CNN2GraphOutput",
    "CoOccurrenceGCN",
    "GATEmbedding",
    "ImageTextLosses",
    "ImageTextMatching",
]
