"""What is timed against what. Each case builds its input once and gives one function a contestant."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from benchmarks.speed.case import Case, off
from benchmarks.speed.distributed import DISTRIBUTED
from benchmarks.speed.latent import LATENT
from benchmarks.speed.modularity import MODULARITY
from benchmarks.speed.neighbors import NEIGHBORS
from benchmarks.speed.propagation import PROPAGATION
from benchmarks.speed.proxies import PROXIES
from pyg_relational.nn import graph_consistency_loss
from pyg_relational.ops import both_directions, knn, neighbor_pairs
from pyg_relational.transforms import knn_graph


def _knn(d: int) -> dict[str, Callable[[], object]]:
    import faiss

    torch.manual_seed(0)
    x = torch.randn(10_000, d)

    def flat() -> object:
        index = faiss.IndexFlatL2(d)
        index.add(x.numpy())
        return index.search(x.numpy(), 25)

    return {"ours": lambda: knn(x, 24), "faiss flat": flat}


def _recall(d: int) -> str:
    torch.manual_seed(0)
    x = torch.randn(10_000, d)
    some = x[:1000].double()
    distance = torch.cdist(some, x.double(), compute_mode="donot_use_mm_for_euclid_dist")
    exact = distance.fill_diagonal_(torch.inf).topk(24, largest=False).indices
    hit = (knn(x, 24).index[:1000, :, None] == exact[:, None]).any(2)
    return f"recall {hit.double().mean():.6f} against float64"


def _knn_graph() -> dict[str, Callable[[], object]]:
    torch.manual_seed(0)
    x = torch.randn(10_000, 512, requires_grad=True)

    def ours() -> object:
        return torch.autograd.grad(knn_graph(x, 24)[1].square().sum(), x)

    def differences() -> object:
        index = knn(x, 24).index
        i, j = both_directions(neighbor_pairs(index), len(x))[0]
        eps = (x - x[index[:, -1]]).square().sum(1).sqrt()
        square = (x[i] - x[j]).square().sum(1)
        weight = torch.exp(-4 * square / (eps[i] * eps[j]))
        return torch.autograd.grad(weight.square().sum(), x)

    return {"ours": ours, "autograd of differences": differences}


def _batch(n: int, d: int, c: int) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    x, logits = torch.randn(n, d), torch.randn(n, c)
    return x.requires_grad_(), logits.requires_grad_(), torch.randint(c, (n,))


def _literal(x: Tensor, logits: Tensor, y: Tensor) -> Tensor:
    """The formula as printed: every matrix n x n."""
    u = torch.nn.functional.normalize(x, dim=1)
    p = torch.nn.functional.normalize(logits.softmax(1), dim=1)
    feature_graph = torch.relu(u @ u.T)
    prediction_graph = torch.relu(p @ p.T) * (y[:, None] == y)
    n = len(y)
    return (feature_graph - prediction_graph).triu(1).square().sum() * 2 / (n * (n - 1))


def _gcr(n: int, d: int, c: int) -> dict[str, Callable[[], object]]:
    x, logits, y = _batch(n, d, c)

    def ours() -> object:
        loss = graph_consistency_loss(x, logits, y, detach_target=False)
        return torch.autograd.grad(loss, (x, logits))

    def literal() -> object:
        return torch.autograd.grad(_literal(x, logits, y), (x, logits))

    return {"ours": ours, "literal dense": literal}


def _gcr_error(n: int, d: int, c: int) -> str:
    x, logits, y = _batch(n, d, c)
    loss = graph_consistency_loss(x, logits, y, detach_target=False)
    ours = (loss, *torch.autograd.grad(loss, (x, logits)))
    x, logits = (t.detach().double().requires_grad_() for t in (x, logits))
    loss = _literal(x, logits, y)
    exact = (loss, *torch.autograd.grad(loss, (x, logits)))
    value, *gradients = map(off, ours, exact)
    return f"off float64: value {value:.0e}, gradient {max(gradients):.0e}"


_GCR = ("ours", "literal dense")
_KNN = ("ours", "faiss flat")

CASES = {
    "knn n=10000 d=32 k=24": Case(
        partial(_knn, 32), _KNN, "time <= 1.1 x faiss flat", partial(_recall, 32)
    ),
    "knn n=10000 d=512 k=24": Case(
        partial(_knn, 512), _KNN, "time <= 1.1 x faiss flat", partial(_recall, 512)
    ),
    "knn_graph weights and gradient n=10000 d=512 k=24": Case(
        _knn_graph, ("ours", "autograd of differences"), "extra memory < 150 MiB"
    ),
    **{
        f"GCR forward and backward n={n} d=128 c=10": Case(
            partial(_gcr, n, 128, 10), _GCR, "at most its time"
        )
        for n in (64, 128, 256, 512)
    },
    "GCR forward and backward n=8192 d=512 c=100": Case(
        partial(_gcr, 8192, 512, 100),
        _GCR,
        ">= 2.3 x faster, extra memory <= 1/10",
        partial(_gcr_error, 8192, 512, 100),
    ),
    "GCR forward and backward n=65536 d=128 c=100": Case(
        partial(_gcr, 65536, 128, 100), ("ours",), "extra memory < 1 GiB", rounds=1
    ),
    **PROPAGATION,
    **PROXIES,
    **MODULARITY,
    **LATENT,
    **NEIGHBORS,
    **DISTRIBUTED,
}
