import pytest
import torch
from torch_geometric.data import Batch, Data
from torch_geometric.transforms import Compose

from pyg_relational.cluster import join_nearest, outliers
from pyg_relational.transforms import KNNGraph, RemoveOutliers


def cloud() -> torch.Tensor:
    x = torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
    return torch.cat([x, torch.tensor([[8.0, 8.0], [-9.0, 4.0]])])


def test_takes_out_what_the_function_finds():
    x, y = cloud(), torch.arange(52)
    keep = ~outliers(x, 5, whisker=1.0).mask
    left = RemoveOutliers(5, whisker=1.0)(Data(x=x, y=y))
    assert left.x.equal(x[keep])
    assert left.y.equal(y[keep])
    assert left.n_id.equal(y[keep])
    assert left.num_nodes == len(left.n_id) < 51


def test_the_graph_that_follows_is_of_what_is_left():
    data = Compose([RemoveOutliers(5), KNNGraph(5)])(Data(x=cloud()))
    alone = KNNGraph(5)(Data(x=data.x))
    assert data.edge_index.equal(alone.edge_index)
    assert data.edge_weight.equal(alone.edge_weight)


def test_edges_of_a_graph_that_is_there_go_too():
    data = RemoveOutliers(5)(KNNGraph(5)(Data(x=cloud())))
    assert data.edge_index.max() < data.num_nodes
    assert data.edge_weight.shape == data.edge_index.shape[1:]


def test_numbers_of_the_given_data_stay_and_the_data_itself_does():
    given = Data(x=cloud(), n_id=torch.arange(100, 152))
    left = RemoveOutliers(5)(given)
    assert (left.n_id >= 100).all()
    assert len(given.x) == len(given.n_id) == 52


def test_outliers_come_back_with_a_cluster():
    x = cloud()
    left = RemoveOutliers(5)(Data(x=x))
    clusters = torch.full((52,), -1)
    clusters[left.n_id] = (left.x[:, 0] > 0).long()
    joined = join_nearest(x, clusters)
    assert joined[left.n_id].equal(clusters[left.n_id])
    assert joined[50:].tolist() == [1, 0]


def test_positions_and_images():
    x = cloud()
    assert RemoveOutliers(5)(Data(pos=x)).pos.equal(RemoveOutliers(5)(Data(x=x)).x)
    images = x.repeat(1, 2).view(52, 2, 2)
    assert RemoveOutliers(5)(Data(x=images)).x.shape[1:] == (2, 2)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"data\.batch must be None"):
        RemoveOutliers(2)(Batch.from_data_list([Data(x=cloud())] * 2))
    with pytest.raises(ValueError, match="whisker must be"):
        RemoveOutliers(whisker=-1.0)
    with pytest.raises(TypeError, match="k must be an int"):
        RemoveOutliers(k=0.5)
