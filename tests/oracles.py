"""Literal forms of the package's formulas: dense, slow, obvious."""

import itertools
import math

import torch
from torch import Tensor
from torch.nn.functional import normalize


def distances(x: Tensor, y: Tensor, metric: str) -> Tensor:
    """All distances [len(y), len(x)]; a zero row has cosine 0 with every row."""
    if metric == "euclidean":
        return (y[:, None] - x[None]).square().sum(-1).sqrt()
    return 1 - normalize(y, dim=1, eps=0).nan_to_num(0) @ normalize(x, dim=1, eps=0).nan_to_num(0).T


def knn(x: Tensor, k: int, metric: str) -> tuple[Tensor, Tensor]:
    """Sort every row by (distance, index), the row itself left out."""
    d = distances(x, x, metric).fill_diagonal_(math.inf)
    value, index = d.sort(dim=1, stable=True)
    return index[:, :k], value[:, :k]


def gaussian_weights(x: Tensor, k: int) -> Tensor:
    """Self-tuning weights of all pairs, by explicit differences: exp(-4 d^2 / (eps_i eps_j))."""
    square = (x[:, None] - x[None]).square().sum(-1)
    index = knn(x.detach(), k, "euclidean")[0][:, -1]
    eps = (x - x[index]).square().sum(-1).sqrt()
    return torch.exp(-4 * square / (eps[:, None] * eps[None]))


def knn_adjacency(index: Tensor, mutual: bool) -> Tensor:
    """Boolean adjacency of a neighbour table."""
    n = index.shape[0]
    a = torch.zeros(n, n, dtype=torch.bool)
    a.scatter_(1, index, True)
    return a & a.T if mutual else a | a.T


def graph_consistency(
    features: list[Tensor],
    logits: Tensor,
    y: Tensor,
    layer_weights: list[float],
    *,
    target: str = "soft",
    relu: bool = True,
    center: bool = False,
    balance: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """sum_l w_l sum_{i<j} (F_ij - P_ij)^2, pair by pair."""
    return sum(
        (
            w * pair_sum(x, logits, y, target, relu, center, balance, reduction)
            for w, x in zip(layer_weights, features, strict=True)
        ),
        start=torch.zeros((), dtype=logits.dtype),
    )


def pair_sum(
    x: Tensor,
    logits: Tensor,
    y: Tensor,
    target: str,
    relu: bool,
    center: bool,
    balance: bool,
    reduction: str,
) -> Tensor:
    """One layer's part of ``graph_consistency``."""
    if center:
        x = x - x.mean(0)
    p = logits.softmax(1)
    same, different = [], []
    for i in range(len(y)):
        for j in range(i + 1, len(y)):
            f = cosine(x[i], x[j])
            f = f.relu() if relu else f
            s = cosine(p[i], p[j]).relu() if target == "soft" else torch.ones(())
            pair = (f - s * (y[i] == y[j])).square()
            (same if y[i] == y[j] else different).append(pair)
    zero = 0 * (x.sum() + logits.sum())
    kinds = [torch.stack(kind) for kind in (same, different) if kind]
    if not kinds:
        return zero
    pairs = torch.cat(kinds)
    if balance:
        mean = torch.stack([kind.mean() for kind in kinds]).mean()
        return zero + (mean if reduction == "mean" else mean * len(pairs))
    return zero + (pairs.mean() if reduction == "mean" else pairs.sum())


def stages(layers: int) -> list[set[str]]:
    """Stages of each layer as the authors' program deals them out; all of them below three layers."""
    if layers < 3:
        return [{"early", "middle", "late"}] * layers
    third = layers // 3
    return [{"early"}] * third + [{"middle"}] * third + [{"late"}] * (layers - 2 * third)


def rbf_consistency(
    x: Tensor,
    logits: Tensor,
    y: Tensor,
    *,
    target: str = "soft",
    center: bool = False,
    balance: bool = False,
) -> Tensor:
    """One layer's mean with exp(-min(d^2, 100) / columns) in place of both cosines, pair by pair."""
    if center:
        x = x - x[y >= 0].mean(0)
    p = logits.softmax(1)
    same, different = [], []
    for i in range(len(y)):
        for j in range(i + 1, len(y)):
            if y[i] < 0 or y[j] < 0:
                continue
            f = torch.exp(-(x[i] - x[j]).square().sum().clamp(max=100) / x.shape[1])
            s = torch.exp(-(p[i] - p[j]).square().sum() / p.shape[1])
            s = s if target == "soft" else torch.ones(())
            (same if y[i] == y[j] else different).append((f - s * (y[i] == y[j])).square())
    if balance:
        return (torch.stack(same).mean() + torch.stack(different).mean()) / 2
    return torch.stack(same + different).mean()


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """Cosine of two vectors, 0 where one is zero."""
    if not (a.any() and b.any()):
        return 0 * (a.sum() + b.sum())
    return (a @ b) / (a.norm() * b.norm())


def dense_weights(edge_index: Tensor, edge_weight: Tensor, n: int) -> Tensor:
    """Adjacency matrix without self-loops, entries at one place added up."""
    w = torch.zeros(n, n, dtype=edge_weight.dtype)
    w = w.index_put((edge_index[0], edge_index[1]), edge_weight, accumulate=True)
    return w - torch.diag(w.diagonal())


def dense_laplacian(w: Tensor, normalization: str = "combinatorial") -> Tensor:
    """D - W, I - D^-1 W or I - D^-1/2 W D^-1/2."""
    d = w.sum(1)
    if normalization == "combinatorial":
        return torch.diag(d) - w
    if normalization == "randomwalk":
        return torch.eye(len(w), dtype=w.dtype) - w / d[:, None]
    return torch.eye(len(w), dtype=w.dtype) - w / (d[:, None] * d[None]).sqrt()


def laplace(
    w: Tensor,
    values: Tensor,
    mask: Tensor,
    tau: Tensor | float = 0.0,
    normalization: str = "combinatorial",
    order: int = 1,
    f: Tensor | float = 0.0,
) -> Tensor:
    """(L + tau I)^m u = f off the labels, u = values on them, by a dense solve."""
    n = len(w)
    shift = torch.as_tensor(tau, dtype=w.dtype).expand(n)
    power = torch.linalg.matrix_power(dense_laplacian(w, normalization) + torch.diag(shift), order)
    free = ~mask
    source = torch.as_tensor(f, dtype=w.dtype).expand_as(values)[free]
    inner = torch.linalg.solve(power[free][:, free], source - power[free][:, mask] @ values[mask])
    return (
        torch.zeros(n, values.shape[1], dtype=w.dtype)
        .index_put((mask,), values[mask])
        .index_put((free,), inner)
    )


def laplace_to_the_last_digit(w: Tensor, values: Tensor, mask: Tensor) -> Tensor:
    """L u = 0 off the labels, u = values >= 0 on them: elimination that never subtracts (Grassmann et al., 1985).

    As no digit cancels, every entry is right to about n roundings however weak an edge may be.
    """
    free = (~mask).nonzero()[:, 0]
    a, held = w[free][:, free].clone(), w[free][:, mask].sum(1)
    b = w[free][:, mask] @ values[mask]
    n, pivot = len(free), []
    for k in range(n):
        pivot.append(a[k, k + 1 :].sum() + held[k])
        share = a[k + 1 :, k] / pivot[k]
        a[k + 1 :, k + 1 :] += share[:, None] * a[k, k + 1 :]
        held[k + 1 :] += share * held[k]
        b[k + 1 :] += share[:, None] * b[k]
    u = values.clone()
    for k in reversed(range(n)):
        u[free[k]] = (b[k] + a[k, k + 1 :] @ u[free[k + 1 :]]) / pivot[k]
    return u


def reweighted(
    w: Tensor,
    mask: Tensor,
    method: str,
    x: Tensor | None = None,
    normalization: str = "combinatorial",
) -> Tensor:
    """Weights heavier near labels, one connected graph."""
    n = len(w)
    if method == "wnll":
        a = torch.where(mask, n / mask.sum(), 1.0).to(w.dtype)
        return (a[:, None] + a[None]) * w
    if method == "properly":
        d = (x[:, None] - x[None][:, mask]).square().sum(-1).sqrt().amin(1)
        a = 1 + (0.1 / d.clamp(min=0.1 / (1e7 - 1) ** 0.5)) ** 2
        return (a[:, None] + a[None]) * w
    kernel = w.sum(1).sqrt() if normalization == "normalized" else torch.ones_like(w[0])
    f = mask.to(w.dtype) - (kernel * mask).sum() / kernel.sum()
    v = torch.linalg.pinv(dense_laplacian(w, normalization), hermitian=True) @ f
    v = v - v.min() + 1e-5
    return v[:, None] * w * v[None]


def poisson(w: Tensor, values: Tensor, mask: Tensor) -> Tensor:
    """L^+ (y - mean y) on the labels of a connected graph, shifted to sum_i d_i u_i = 0."""
    source = torch.where(mask[:, None], values - values[mask].mean(0), 0.0)
    u = torch.linalg.pinv(dense_laplacian(w), hermitian=True) @ source
    return u - (w.sum(1) @ u) / w.sum()


def random_walk(w: Tensor, values: Tensor, mask: Tensor, alpha: Tensor | float) -> Tensor:
    """(I - alpha D^-1/2 W D^-1/2)^-1 y."""
    d = w.sum(1)
    s = w / (d[:, None] * d[None]).sqrt()
    return torch.linalg.solve(torch.eye(len(w), dtype=w.dtype) - alpha * s, mask[:, None] * values)


def p_laplace_residual(w: Tensor, u: Tensor, mask: Tensor, p: float, tau: float = 0.0) -> Tensor:
    """sum_j w_ij |u_i - u_j|^(p-2) (u_i - u_j) + tau u_i off the labels."""
    t = u[:, None] - u[None]
    return ((w[..., None] * t.abs() ** (p - 2) * t).sum(1) + tau * u)[~mask]


def p_laplace_energy(w: Tensor, u: Tensor, p: float, tau: float = 0.0) -> Tensor:
    """sum_ij w_ij |u_i - u_j|^p / 2p + tau/2 sum_i u_i^2."""
    t = (u[:, None] - u[None]).abs()
    return (w[..., None] * t**p).sum() / (2 * p) + tau / 2 * u.square().sum()


def game_p_laplace(
    w: Tensor, values: Tensor, mask: Tensor, p: float, sweeps: int = 20_000
) -> Tensor:
    """Iterate u_i = a mean_j u_j + (1 - a) (min_j u_j + max_j u_j) / 2 off the labels."""
    a, walk, near = 1 / (p - 1), w / w.sum(1, keepdim=True), (w > 0)[..., None]
    u = torch.where(mask[:, None], values, 0.0)
    for _ in range(sweeps):
        low = torch.where(near, u[None], math.inf).amin(1)
        high = torch.where(near, u[None], -math.inf).amax(1)
        new = torch.where(mask[:, None], values, a * walk @ u + (1 - a) * (low + high) / 2)
        if (new - u).abs().max() < 1e-14:
            break
        u = new
    return u


def best_partition(scores: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """Classes with the greatest sum of scores among all whose sizes are within bounds, by trying each."""
    n, c = scores.shape
    every = torch.cartesian_prod(*[torch.arange(c)] * n).view(-1, n)
    size = (every[:, :, None] == torch.arange(c)).sum(1)
    every = every[((size >= lower) & (size <= upper)).all(1)]
    total = scores[torch.arange(n), every].sum(1)
    return every[total.argmax()]


def poisson_mbo(
    w: Tensor, values: Tensor, mask: Tensor, lower: Tensor, upper: Tensor, mu: float, steps: int
) -> Tensor:
    """Classes by Poisson-MBO, 20 rounds, on a connected graph."""
    source = torch.where(mask[:, None], values - values[mask].mean(0), 0.0)
    u, step = poisson(w, values, mask), 1 / w.sum(1).max()
    for _ in range(21):
        label = best_partition(u, lower, upper)
        u = torch.eye(values.shape[1], dtype=w.dtype)[label]
        for _ in range(steps):
            u = u + step * (mu * source - dense_laplacian(w) @ u)
    return label


def p_eikonal(w: Tensor, zero: Tensor, cost: Tensor, p: float) -> Tensor:
    """Fast marching: the next smallest value is final; values by bisection. One set of nodes at 0."""
    d = torch.full((len(w),), math.inf, dtype=w.dtype).masked_fill(zero, 0.0)
    final = zero.clone()
    while True:
        trial = torch.full_like(d, math.inf)
        for i in (~final).nonzero()[:, 0].tolist():
            near = final & (w[i] > 0)
            if near.any():
                low = d[near].min()
                high = (d[near] + (cost[i] / w[i, near]) ** (1 / p)).min()
                for _ in range(200):
                    t = (low + high) / 2
                    below = (w[i, near] * (t - d[near]).clamp(min=0) ** p).sum() < cost[i]
                    low, high = (t, high) if below else (low, t)
                trial[i] = high
        if trial.min() == math.inf:
            return d
        i = trial.argmin()
        d[i], final[i] = trial[i], True


def proxy_contrastive(
    embedding: Tensor,
    y: Tensor,
    anchors: Tensor,
    anchor_y: Tensor,
    proxies: Tensor,
    proxy_y: Tensor,
    *,
    margin: float,
    pair_margin: float,
    mining: str,
    reduction: str,
    term_weights: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0),
) -> Tensor:
    """L_at + L_pt + L_ap + L_p, triplet by triplet and pair by pair."""
    image, anchor, proxy = (
        [
            (x / x.norm() if x.any() else 0 * x, label)
            for x, label in zip(rows, labels.tolist(), strict=True)
            if label >= 0
        ]
        for rows, labels in ((embedding, y), (anchors, anchor_y), (proxies, proxy_y))
    )
    total = 0 * (embedding.sum() + anchors.sum() + proxies.sum())
    for weight, source, among in zip(
        term_weights, (anchor, proxy, anchor), (image, image, proxy), strict=False
    ):
        value = [v for s in source for v in query_triplets(s, among, margin, mining)]
        if reduction == "nonzero_mean":
            value = [v for v in value if v > 0]
        total = total + weight * sum(value) / max(len(value), 1)
    value = []
    for i in range(len(proxy)):
        for j in range(i + 1, len(proxy)):
            (a, label), (b, other) = proxy[i], proxy[j]
            d = (a - b).norm()
            value.append((d if label == other else (pair_margin - d).relu()) ** 2 / 2)
    return total + term_weights[3] * sum(value) / max(len(value), 1)


def query_triplets(
    query: tuple[Tensor, int], bank: list[tuple[Tensor, int]], margin: float, mining: str
) -> list[Tensor]:
    """All triplets of one query, or the semi-hard ones."""
    a, label = query
    value = []
    for p, positive in bank:
        for n, negative in bank:
            if positive == label != negative:
                near, far = (a - p).square().sum(), (a - n).square().sum()
                if mining == "all" or near < far < near + margin:
                    value.append((near - far + margin).relu())
    return value


def cnn2graph(
    output: tuple[Tensor, ...],
    y: Tensor,
    weight: float,
    contrastive: Tensor,
    class_weights: tuple[float, ...] = (1.0, 1.0, 1.0),
) -> Tensor:
    """-log p of the class, a mean for each of images, anchors and proxies, plus the contrastive loss."""
    logits, _, _, _, anchor_logits, proxy_logits, anchor_y, proxy_y = output
    total = weight * contrastive
    sets = ((logits, y), (anchor_logits, anchor_y), (proxy_logits, proxy_y))
    for factor, (z, labels) in zip(class_weights, sets, strict=True):
        value = [-z[i].log_softmax(0)[k] for i, k in enumerate(labels.tolist()) if k >= 0]
        total = total + factor * sum(value) / max(len(value), 1)
    return total


def gatv2_scores(query: Tensor, key: Tensor, att: Tensor, slope: float) -> Tensor:
    """sum_c a_c LeakyReLU(q_ic + k_jc), the derivative at 0 that of (1 + s) / 2 t + (1 - s) / 2 |t|."""
    t = query[:, None] + key
    return (att * ((1 + slope) / 2 * t + (1 - slope) / 2 * t.abs())).sum(-1).permute(2, 0, 1)


def gatv2_pair(conv, x: Tensor, g: Tensor, at: int) -> tuple[Tensor, Tensor]:
    """Score and value of each head of one sample and one proxy."""
    q, k = (lin(t).view(conv.heads, -1) for lin, t in ((conv.lin_r, x), (conv.lin_l, g)))
    t = q + k
    return (conv.att[0] * torch.where(t > 0, t, conv.negative_slope * t)).sum(1), k


def attention_pair(conv, x: Tensor, g: Tensor, at: int, width: int) -> tuple[Tensor, Tensor]:
    """Score and value of each head of one sample and one proxy of set ``at``, by the maps of that set."""
    at = 0 if len(conv.lin_key) == 1 else at
    q, k, v = (
        lin(t).view(conv.heads, -1)
        for lin, t in ((conv.lin_query, x), (conv.lin_key[at], g), (conv.lin_value[at], g))
    )
    return (q * k).sum(1) / math.sqrt(width), v


def combined(parts: list[Tensor], how: str, base: Tensor | float) -> Tensor:
    """What came from each set, added to the sample's own."""
    if how == "cat":
        return torch.cat([part + base for part in parts])
    total = parts[0]
    for part in parts[1:]:
        total = torch.maximum(total, part) if how == "max" else total + part
    return (total / len(parts) if how == "mean" else total) + base


def proxy_attention(conv, pair, x: Tensor, sets: list[Tensor], edges: list[Tensor]) -> Tensor:
    """Sample by sample, proxy by proxy."""
    rows = []
    for i, sample in enumerate(x):
        near = [
            [(g[j], at) for j, t in edge.T.tolist() if t == i]
            for at, (g, edge) in enumerate(zip(sets, edges, strict=True))
        ]
        near = [[g for group in near for g in group]] if conv.softmax == "joint" else near
        parts = []
        for at, group in enumerate(near):
            group = [*group, (sample, at)] if conv.self_loop == "per_set" else group
            out = torch.zeros(conv.heads, conv.out_channels, dtype=x.dtype)
            if group:
                pairs = [pair(conv, sample, g, of) for g, of in group]
                scores, values = (torch.stack(part) for part in zip(*pairs, strict=True))
                weights = scores.exp() / scores.exp().sum(0)
                out = (weights[:, :, None] * values).sum(0)
            parts.append(out.flatten() if conv.concat else out.mean(0))
        own = conv.skip(sample)
        own = 0.0 if own is None else own
        if conv.self_loop == "raw":
            parts, own = [sample, *(part + own for part in parts)], 0.0
        rows.append(combined(parts, conv.combine, own))
    return torch.stack(rows)


def proxy_pool(conv, x: Tensor, sets: list[Tensor], edges: list[Tensor]) -> Tensor:
    """Sample by sample, proxy by proxy; what has no proxy gets zero, or itself as the maximum."""
    rows = []
    for i, sample in enumerate(x):
        near = [
            [(g[j], int((edge[0] == j).sum())) for j, t in edge.T.tolist() if t == i]
            for g, edge in zip(sets, edges, strict=True)
        ]
        if conv.pool != "mean":
            near = [[entry for group in near for entry in group]]
        parts = []
        for group in near:
            out = torch.zeros(sets[0].shape[1], dtype=x.dtype)
            if conv.pool == "max":
                out = torch.stack([sample, *(g for g, _ in group)]).max(0).values
            elif conv.pool == "mean" and group:
                out = torch.stack([g for g, _ in group]).mean(0)
            elif conv.pool == "sym":
                out = sum((g / math.sqrt(len(group) * d) for g, d in group), out)
            parts.append(conv.lin_l(out))
        rows.append(
            combined(parts, conv.combine, 0.0 if conv.lin_r is None else conv.lin_r(sample))
        )
    return torch.stack(rows)


def prototype_scores(
    x: Tensor, prototypes: Tensor, y: list[int], num_classes: int, tau: float, center: bool
) -> Tensor:
    """Sample by sample, class by class: the weighted prototype is built, and compared."""
    mean = prototypes.mean(0) if center else torch.zeros_like(prototypes[0])
    rows = []
    for sample in x - mean:
        row = []
        for c in range(num_classes):
            bag = [g - mean for g, k in zip(prototypes, y, strict=True) if k == c]
            weights = torch.stack([torch.exp(cosine(sample, g) / tau) for g in bag])
            weighted = sum(w * g for w, g in zip(weights / weights.sum(), bag, strict=True))
            row.append(cosine(sample, weighted))
        rows.append(torch.stack(row))
    return torch.stack(rows)


def modularity(a: Tensor, c: Tensor, resolution: float) -> Tensor:
    """1/M sum_ij (A_ij - gamma d_i d_j / M) <c_i, c_j>; a self-loop is twice its weight in A."""
    a = a + torch.diag(a.diagonal())
    d = a.sum(1)
    total = d.sum()
    if total == 0:
        return 0 * c.sum()
    return ((a - resolution * torch.outer(d, d) / total) * (c @ c.T)).sum() / total


def collapse(c: Tensor) -> Tensor:
    """sqrt(k)/n |sum_i c_i| - 1."""
    return math.sqrt(c.shape[1]) / len(c) * c.sum(0).square().sum().sqrt() - 1


def orthogonality(c: Tensor) -> Tensor:
    """|C^T C / |C^T C| - I / sqrt(k)|_F."""
    eye = torch.eye(c.shape[1], dtype=c.dtype)
    product = c.T @ c
    return (product / product.norm() - eye / eye.norm()).norm()


def grapix(
    x: Tensor, centroids: Tensor, a: Tensor | None, alpha: float, resolution: float
) -> Tensor:
    """The three terms, on the affinity of all pairs where there is no graph."""
    u, mu = normalize(x), normalize(centroids)
    if a is None:
        a = (u @ u.T).relu() * (1 - torch.eye(len(x), dtype=x.dtype))
    s = (alpha * u @ mu.T).softmax(1)
    nearest = (u @ mu.T).amax(1).mean()
    return orthogonality(s) - modularity(a, s, resolution) - nearest


def neighbor_consistency(c: Tensor, index: Tensor, entropy_weight: float) -> Tensor:
    """Mean of -log <c_i, c_j> minus the weighted entropy of the mean assignment."""
    agreement = torch.stack(
        [(c[i] * c[j]).sum() for i, row in enumerate(index.tolist()) for j in row]
    )
    mean = c.mean(0)
    return -agreement.log().mean() + entropy_weight * (mean * mean.log()).sum()


def self_label(weak: Tensor, strong: Tensor, threshold: float, balance: bool) -> Tensor:
    """Weighted mean of cross-entropies, with weights n/n_c for the n_c sure samples of a class."""
    p = weak.softmax(1)
    sure = [i for i in range(len(p)) if p[i].max() > threshold]
    if not sure:
        return 0 * strong.sum()
    labels = [int(p[i].argmax()) for i in sure]
    weights = [len(labels) / labels.count(c) if balance else 1.0 for c in labels]
    losses = [-strong[i].log_softmax(0)[c] for i, c in zip(sure, labels, strict=True)]
    return sum(w * x for w, x in zip(weights, losses, strict=True)) / sum(weights)


def dgcluster(x: Tensor, a: Tensor, y: Tensor, auxiliary: float) -> Tensor:
    """-Tr(U^T B U)/2m + auxiliary/|S|^2 |H - U_S U_S^T|^2, B = A - d d^T/2m."""
    u = normalize(x.tanh() ** 2)
    known = y >= 0
    h = (y[known][:, None] == y[known]).to(x.dtype)
    difference = (h - u[known] @ u[known].T).square().sum()
    return auxiliary * difference / max(int(known.sum()), 1) ** 2 - modularity(a, u, 1.0)


def farthest_gates(x: Tensor, c: Tensor, temperature: float) -> Tensor:
    """1 - c_u^T S c_v of all pairs, S_ab = 1 - (1 - R_ab)(1 - R_ba), R_ab over b != a that are not empty."""
    k, mass = c.shape[1], c.sum(0)
    mu = {a: (c[:, a, None] * x).sum(0) / mass[a] for a in range(k) if mass[a] > 0}
    r = {}
    for a in mu:
        others = {
            b: ((mu[a] - mu[b]).square().sum().sqrt() / temperature).exp() for b in mu if b != a
        }
        r.update({(a, b): value / sum(others.values()) for b, value in others.items()})
    apart = sum((1 - (1 - r[a, b]) * (1 - r[b, a])) * torch.outer(c[:, a], c[:, b]) for a, b in r)
    return 1 - apart


def gated_modularity(a: Tensor, g: Tensor, c: Tensor, resolution: float) -> Tensor:
    """1/M sum_ij (g_ij A_ij - gamma d_i d_j / M) <c_i, c_j>, d and M of A; a self-loop is twice in A."""
    a = a + torch.diag(a.diagonal())
    d = a.sum(1)
    total = d.sum()
    if total == 0:
        return 0 * c.sum()
    return ((g * a - resolution * torch.outer(d, d) / total) * (c @ c.T)).sum() / total


def pruning_loss(
    a: Tensor,
    g: Tensor,
    c: Tensor,
    *,
    keep: float,
    min_degree: int,
    resolution: float,
    budget: float,
    hinge: float,
    collapse_weight: float,
) -> Tensor:
    """The four terms; neighbours are where A is positive, off the diagonal."""
    joined = (a > 0) & ~torch.eye(len(a), dtype=torch.bool)
    loss = collapse_weight * collapse(c) - gated_modularity(a, g, c, resolution)
    if joined.any():
        loss = loss + budget * (g[joined].mean() - keep) ** 2
    for i in range(len(a)):
        wanted = min(min_degree, int(joined[i].sum()))
        loss = loss + hinge / len(a) * (wanted - g[i][joined[i]].sum()).clamp(min=0)
    return loss


def matched_label(clusters: list[int], y: list[int], cluster: int) -> int:
    """The label that most of a cluster's labelled samples have, the lowest of several."""
    inside = [label for c, label in zip(clusters, y, strict=True) if c == cluster and label >= 0]
    return min(set(inside), key=lambda label: (-inside.count(label), label), default=-1)


def latent_cluster_targets(
    z: Tensor, y: list[int], clusters: list[int], k: int, targets: str
) -> dict[int, Tensor]:
    """Eq. 7 of LCC, and appendix B, sample by sample: the target of every correctible one."""
    n, found = len(y), {}
    label = {c: matched_label(clusters, y, c) for c in set(clusters)}
    right = [i for i in range(n) if y[i] >= 0 and label[clusters[i]] == y[i]]
    for i in range(n):
        if y[i] < 0 or i in right:
            continue
        own = [j for j in right if y[j] == y[i]]
        pools = [own]
        if targets == "cluster":
            pools = [[j for j in own if clusters[j] == c] for c in sorted(label)]
        means = []
        for pool in pools:
            near = sorted(pool, key=lambda j: float((z[i] - z[j]).square().sum()))[:k]
            if len(near) == k:
                means.append(torch.stack([z[j] for j in near]).mean(0))
        if means:
            found[i] = min(means, key=lambda mean: float((z[i] - mean).square().sum()))
    return found


def latent_cluster(z: Tensor, found: dict[int, Tensor], g: Tensor | None = None) -> Tensor:
    """1/(sqrt(d) N) sum ||z_i - target_i||; with g, of (I - P) (z_i - target_i), P the projection on g's columns."""
    total = z.new_zeros(())
    for i, target in found.items():
        r = z[i] - target
        if g is not None:
            columns = g[i].reshape(len(r), -1)
            r = r - columns @ torch.linalg.pinv(columns, rtol=1e-6) @ r
        total = total + r.norm()
    return total / max(len(found), 1) / math.sqrt(z.shape[1])


def tangent_projection(x: Tensor, k: int, dim: int) -> Tensor:
    """Projections on the leading eigenvectors of the covariance of each point's k nearest others."""
    made = []
    for i in range(len(x)):
        near = sorted(
            (j for j in range(len(x)) if j != i), key=lambda j: float((x[i] - x[j]).norm())
        )[:k]
        values, vectors = torch.linalg.eigh(x[near].T.cov(correction=0).reshape(x.shape[1], -1))
        top = vectors[:, values > 1e-12 * values.max()][:, -dim:]
        made.append(top @ top.T)
    return torch.stack(made)


def conductance_and_modularity(a: Tensor, c: list[int]) -> tuple[float, float]:
    """Phi and Q of a partition, cluster by cluster; a self-loop is twice in a volume."""
    d = (a.sum(1) + a.diagonal()).tolist()
    total = sum(d)
    phi, q = 0.0, 1.0
    for name in set(c):
        inside = torch.tensor([x == name for x in c])
        volume = sum(x for x, here in zip(d, inside, strict=True) if here)
        cut = float(a[inside][:, ~inside].sum())
        rest = min(volume, total - volume)
        alone = bool(inside.all()) or rest <= 0
        phi += volume / total * (1 if alone else cut / max(rest, cut))
        q -= cut / total + (volume / total) ** 2
    return phi, q


def pressed(ballots: Tensor, c: list[int]) -> list[set[int]]:
    """Clusters with most votes for each node, its own where nobody votes."""
    n = len(c)
    votes = ballots @ torch.eye(n, dtype=ballots.dtype)[c]
    return [
        {j for j in range(n) if v[j] >= v.max() * (1 - 1e-6)} if v.max() > 0 else {c[i]}
        for i, v in enumerate(votes)
    ]


def beyond_chance(a: Tensor, c: list[int]) -> list[set[int]]:
    """Neighbours' clusters c with most sum_j A_ij B_jc - d_i/2m sum_j d_j B_jc, j not i; its own where it has none."""
    n = len(c)
    d = a.sum(1) + a.diagonal()
    found = []
    for i in range(n):
        others = [j for j in range(n) if j != i]
        votes = {c[j]: 0.0 for j in others if a[i, j] > 0}
        for j in others:
            if a[i, j] > 0:
                votes[c[j]] += float(a[i, j])
        chance = {k: float(d[i] * sum(d[j] for j in others if c[j] == k) / d.sum()) for k in votes}
        most = max((votes[k] - chance[k] for k in votes), default=0.0)
        slack = 1e-6 * max(votes.values(), default=0.0)
        found.append({k for k in votes if votes[k] - chance[k] >= most - slack} or {c[i]})
    return found


def peer_pressure(a: Tensor, normalize: bool, max_iter: int, patience: int) -> list[int] | None:
    """Clusters by votes A B, or A D^-1 B, then by votes beyond chance; None where some votes tie."""
    n = len(a)
    ballots = a / a.sum(0).where(a.sum(0) > 0, 1) if normalize else a
    best = list(range(n))
    phi, q = conductance_and_modularity(a, best)
    for beyond in (False, True):
        c = before = best
        stale = 0
        for _ in range(max_iter):
            moves = beyond_chance(a, c) if beyond else pressed(ballots, c)
            if any(len(m) > 1 for m in moves):
                return None
            wanted = [m.pop() for m in moves]
            back = [w == b and w > now for w, b, now in zip(wanted, before, c, strict=True)]
            before, c = (
                c,
                [now if stays else w for now, w, stays in zip(c, wanted, back, strict=True)],
            )
            now = conductance_and_modularity(a, c)
            if now[1] > q + 1e-12 and (beyond or now[0] < phi - 1e-12):
                best, (phi, q), stale = c, now, 0
            else:
                stale += 1
            if stale == patience:
                break
    reach = torch.linalg.matrix_power(a.bool().double() + torch.eye(n, dtype=torch.float64), n) > 0
    apart = [int(row.nonzero()[0]) for row in reach]
    return apart if conductance_and_modularity(a, apart)[1] >= q - 1e-12 else best


def generalized_discrimination_value(z: Tensor, y: list[int]) -> float:
    """1/sqrt(d) (mean_l d(C_l) - mean_{l<m} d(C_l, C_m)) of z-scores / 2, pair by pair; rows of y = -1 left out."""
    rows = [i for i, label in enumerate(y) if label >= 0]
    z = z[rows].double()
    columns = [c for c in z.T if len(c.unique()) > 1]
    if not columns:
        return 0.0
    s = torch.stack([(c - c.mean()) / c.var(correction=0).sqrt() / 2 for c in columns], dim=1)
    members = {a: [j for j, i in enumerate(rows) if y[i] == a] for a in {y[i] for i in rows}}
    intra, inter = [], []
    for a in members:
        d = [(s[i] - s[j]).norm().item() for i in members[a] for j in members[a] if i < j]
        intra.append(sum(d) / len(d))
        for b in members:
            if a < b:
                d = [(s[i] - s[j]).norm().item() for i in members[a] for j in members[b]]
                inter.append(sum(d) / len(d))
    return (sum(intra) / len(intra) - sum(inter) / len(inter)) / math.sqrt(len(columns))


def clustered_scores(
    logits: Tensor, y: list[int], clusters: list[int]
) -> list[tuple[int, float | None, float | None]]:
    """Count, accuracy and cross-entropy of samples in a cluster whose majority is theirs, and of the others."""
    rows = [i for i in range(len(y)) if y[i] >= 0 and clusters[i] >= 0]
    label = {}
    for c in {clusters[i] for i in rows}:
        inside = [y[i] for i in rows if clusters[i] == c]
        label[c] = min(set(inside), key=lambda a: (-inside.count(a), a))
    scores = []
    for wanted in (True, False):
        group = [i for i in rows if (label[clusters[i]] == y[i]) == wanted]
        hits = [float(logits[i].argmax() == y[i]) for i in group]
        losses = [-float(logits[i].double().log_softmax(0)[y[i]]) for i in group]
        means = [sum(x) / len(group) if group else None for x in (hits, losses)]
        scores.append((len(group), *means))
    return scores


def general_residual(w: Tensor, u: Tensor, mask: Tensor, phi, sigma, f: Tensor) -> Tensor:
    """sum_y phi(u_x - u_y, x, y) + sigma(u_x, x) - f off the labels, one pair after the other."""
    total = sigma(u, torch.arange(len(u))) - f
    for i, j in (w > 0).nonzero().tolist():
        ends = torch.tensor([i]), torch.tensor([j])
        total[i] += phi((u[i] - u[j])[None], w[i, j].view(1, 1), *ends)[0]
    return total[~mask]


# Clusters and pruning


def neighbour_overlap(a: Tensor) -> Tensor:
    """Of adjacency [n, n]: |N_i and N_j| / |N_i or N_j|, each node in its own neighbourhood."""
    rows = [set(row.nonzero()[:, 0].tolist()) | {i} for i, row in enumerate(a)]
    return torch.tensor([[len(p & q) / len(p | q) for q in rows] for p in rows])


def spanning_forest(edges: Tensor, weight: list[float], n: int) -> set[frozenset[int]]:
    """Kruskal: the heaviest edge first, unless its ends are joined already."""
    group, held = list(range(n)), set()
    for _, i, j in sorted((-w, *pair) for pair, w in zip(edges.T.tolist(), weight, strict=True)):
        if i < j and group[i] != group[j]:
            held.add(frozenset((i, j)))
            old, new = group[i], group[j]
            group = [new if g == old else g for g in group]
    return held


def outlier_degree(x: Tensor, k: int) -> Tensor:
    """Symmetry ratio less distance ratio, eqs. 1 to 5, point by point; 0 - 1 of k copies."""
    index, distance = knn(x, k, "euclidean")
    degree = []
    for i in range(len(x)):
        mirrors = [2 * x[i] - x[j] for j in index[i]]
        total = distance[i].sum()
        nearest = sum(min((m - p).norm() for p in x) for m in mirrors)
        theirs = sum(distance[j].sum() for j in index[i])
        degree.append(nearest / total - theirs / (k * total) if total > 0 else total - 1)
    return torch.stack(degree)


def box_plot_outliers(degree: list[float], r: float) -> list[bool]:
    """Eqs. 6 to 10, ranks counted from 1."""
    ranked, n = sorted(degree), len(degree)
    low, high = (ranked[math.floor(share * n + 0.5) - 1] for share in (0.25, 0.75))
    return [o > high + r * (high - low) for o in degree]


def knn_hypergraph(x: Tensor, k: int, mu: float) -> tuple[Tensor, Tensor]:
    """Incidence F [n, n] of every row with its k neighbours, and weights over ordered pairs, hyperedge by hyperedge."""
    n = len(x)
    f = torch.eye(n, dtype=x.dtype).index_put(
        (knn(x.detach(), k, "euclidean")[0], torch.arange(n)[:, None]),
        torch.ones((), dtype=x.dtype),
    )
    weight = []
    for e in range(n):
        members = f[:, e].nonzero()[:, 0].tolist()
        size = len(members)
        pairs = [(i, j) for i in members for j in members if i != j]
        total = sum(torch.exp(-(x[i] - x[j]).square().sum() / mu) for i, j in pairs)
        weight.append(total / (size * (size - 1)))
    return f, torch.stack(weight)


def hypergraph_laplacian(f: Tensor, w: Tensor) -> Tensor:
    """Eq. 8, I - D_v^-1/2 F W D_e^-1 F^T D_v^-1/2; rows and columns of nodes without degree are 0."""
    d = f @ w
    root = torch.diag(torch.where(d > 0, d.where(d > 0, 1) ** -0.5, 0))
    size = torch.diag(1 / f.sum(0).clamp(min=1))
    return torch.diag((d > 0).to(f)) - root @ f @ torch.diag(w) @ size @ f.T @ root


def mixed_propagation(matrix: Tensor, values: Tensor, mask: Tensor) -> Tensor:
    """matrix u = 0 off the labels, u = values on them, by a dense solve."""
    free = ~mask
    inner = torch.linalg.solve(matrix[free][:, free], -matrix[free][:, mask] @ values[mask])
    return values.index_put((mask,), values[mask]).index_put((free,), inner)


def hypergraph_svc(kernel: Tensor, matrix: Tensor, sign: Tensor, a: float, i: float, theta: Tensor):
    """Eq. 11 for dual variables and bias ``theta``; ``sign`` is 0 where there is no label."""
    alpha, b = theta[:-1], theta[-1]
    f = kernel @ alpha + b
    hinge = sum((1 - sign[j] * f[j]).clamp(min=0) ** 2 for j in range(len(f)) if sign[j] != 0)
    return 0.5 * (hinge + a * alpha @ kernel @ alpha + i * f @ matrix @ f)


def two_view_contrast(a: dict[int, Tensor], b: dict[int, Tensor], tau: float) -> Tensor:
    """Eq. 2 or 4 of SITAR for rows by name, both directions, in the mean over those that are in both views."""

    def h(u: Tensor, v: Tensor) -> Tensor:
        return torch.exp(cosine(u, v) / tau)

    terms = []
    for one, other in ((a, b), (b, a)):
        for i in one.keys() & other.keys():
            near = h(one[i], other[i])
            apart = [h(one[i], view[k]) for view in (one, other) for k in view if k != i]
            terms.append(-torch.log(near / (near + sum(apart))))
    return torch.stack(terms).mean() if terms else torch.zeros(())


def group_means(x: Tensor, groups: list[int]) -> dict[int, Tensor]:
    """Eq. 3: mean of each group's rows."""
    return {
        g: torch.stack([x[i] for i in range(len(x)) if groups[i] == g]).mean(0)
        for g in set(groups) - {-1}
    }


def minimum_matching(visual: Tensor, textual: Tensor) -> Tensor:
    """Eq. 5 of image-text matching: the least mean distance over all injective matchings, one by one."""
    size = len(textual)
    choices = itertools.permutations(range(len(visual)), size)
    means = [
        sum((visual[m] - textual[i]).norm() for i, m in enumerate(mu)) / size for mu in choices
    ]
    return min(means)


def cluster_hinge(visual: Tensor, textual: Tensor, margin: float) -> Tensor:
    """Eq. 6, in the mean over ordered pairs of samples."""
    count, terms = len(visual), []
    for b in range(count):
        own = minimum_matching(visual[b], textual[b])
        for c in set(range(count)) - {b}:
            for other in (
                minimum_matching(visual[c], textual[b]),
                minimum_matching(visual[b], textual[c]),
            ):
                terms.append((own - other + margin).clamp(min=0))
    return sum(terms, visual.new_zeros(())) / max(1, count * (count - 1))


def cluster_pool(x: Tensor, c: Tensor) -> Tensor:
    """SELU((C / N)^T X) of one graph."""
    return torch.nn.functional.selu((c / c.shape[1]).T @ x)


def graph_features(branch, x: Tensor, batch: Tensor) -> tuple[list[Tensor], list[Tensor], Tensor]:
    """Mean node features, assignments and mean of eq. 4 of the graphs of one modality, graph by graph."""
    graphs = [(batch == b).nonzero()[:, 0] for b in range(int(batch.max()) + 1)]
    adjacency = [
        knn_adjacency(knn(x[rows].detach(), branch.k, "euclidean")[0], False).to(x)
        for rows in graphs
    ]
    for conv, after in zip(branch.convs, branch.after, strict=True):
        h = torch.zeros(len(x), conv.out_channels, dtype=x.dtype)
        for rows, a in zip(graphs, adjacency, strict=True):
            looped = a + torch.eye(len(a), dtype=a.dtype)
            root = torch.diag(looped.sum(1) ** -0.5)
            h = h.index_put((rows,), root @ looped @ root @ conv.lin(x[rows]) + conv.bias)
        x = after(h)
    assignment = [branch.assign(x[rows]).softmax(1) for rows in graphs]
    losses = [
        collapse(c) - modularity(a, c, 1.0) for a, c in zip(adjacency, assignment, strict=True)
    ]
    return [x[rows].mean(0) for rows in graphs], assignment, sum(losses) / len(losses)


def image_text_matching(model, image, nodes, batch, words, words_batch, y) -> dict[str, Tensor]:
    """Eqs. 3 to 7 without weights, sample by sample; the classifier of projected images is with the alignment."""
    visual, c_v, loss_v = graph_features(model.visual, nodes, batch)
    textual, c_t, loss_t = graph_features(model.textual, words, words_batch)
    alignment, clusters, words_clusters, entropies = [], [], [], []
    for b, x in enumerate(image):
        x = model.project_image(x)
        v, t = model.project_visual(visual[b]), model.project_textual(textual[b])
        alignment.append((x - v).norm() + (x - t).norm())
        clusters.append(model.project_image(cluster_pool(nodes[batch == b], c_v[b])))
        words_clusters.append(model.project_words(cluster_pool(words[words_batch == b], c_t[b])))
        choices = itertools.permutations(range(len(clusters[b])), len(words_clusters[b]))
        mu = min(
            choices,
            key=lambda mu: (clusters[b][list(mu)] - words_clusters[b]).norm(dim=1).sum().item(),
        )
        matched = clusters[b][list(mu)].mean(0)
        if y[b] >= 0:
            parts = zip(model.heads, (x, matched, visual[b]), strict=True)
            entropies.append([-head(part).log_softmax(0)[y[b]] for head, part in parts])
    return {
        "alignment": sum(alignment) / len(image) + sum(e[0] for e in entropies) / len(entropies),
        "modularity": loss_v + loss_t,
        "matching": cluster_hinge(
            torch.stack(clusters), torch.stack(words_clusters), model.options["margin"]
        ),
        "auxiliary": sum(e[1] + e[2] for e in entropies) / len(entropies),
    }


def co_occurrence(y: list[list[int]]) -> Tensor:
    """P(n | m) in row m, by counting; rows of classes that are never seen are 0."""
    count = len(y[0])
    matrix = torch.zeros(count, count, dtype=torch.float64)
    for m, n in itertools.product(range(count), repeat=2):
        seen = sum(row[m] for row in y)
        if seen:
            matrix[m, n] = sum(row[m] * row[n] for row in y) / seen
    return matrix


def co_occurrence_gcn(model, logits: Tensor, matrix: Tensor) -> Tensor:
    """Eq. 3, sample by sample, by a dense matrix."""
    rows = []
    for p in logits:
        h = p[:, None]
        for conv in model.convs:
            h = matrix @ h @ conv.lin.weight.T
            h = torch.where(h > 0, h, 0.01 * h)
        rows.append(p + h[:, 0])
    return torch.stack(rows)


def asymmetric(z: Tensor, y: list[list[int]], counts: list[int] | None, options) -> Tensor:
    """Eq. 4, label by label."""
    positive, negative, margin = options
    terms = []
    for i, row in enumerate(y):
        for j, there in enumerate(row):
            p = 1 / (1 + torch.exp(-z[i, j]))
            less = torch.clamp(p - margin, min=0)
            absent = less**negative * torch.log(1 - less)
            term = (1 - p) ** positive * torch.log(p) if there else absent
            terms.append(-term * (sum(counts) / counts[j] if counts else 1))
    return sum(terms) / len(terms)


def dissimilarity(found: Tensor, wanted: Tensor, weight: float) -> Tensor:
    """Eq. 3 of the learned embedding, number by number."""
    square = torch.stack(
        [(y - z) ** 2 for y, z in zip(wanted.flatten(), found.flatten(), strict=True)]
    )
    divergence = []
    for y, z in zip(wanted, found, strict=True):
        p, q = torch.exp(z) / torch.exp(z).sum(), torch.exp(y) / torch.exp(y).sum()
        divergence.append(sum(a * torch.log(a / b) for a, b in zip(p, q, strict=True)))
    return weight * square.mean() + (1 - weight) * torch.stack(divergence).mean()


def edit_distance(a: Tensor, b: Tensor, x: list[int], z: list[int]) -> int:
    """Exact edit distance of small graphs: the best of all ways to match nodes, each with one or none."""
    n, m, best = len(a), len(b), None
    for choice in itertools.product([None, *range(m)], repeat=n):
        matched = [j for j in choice if j is not None]
        if len(set(matched)) < len(matched):
            continue
        pairs = [(i, j) for i, j in enumerate(choice) if j is not None]
        nodes = sum(x[i] != z[j] for i, j in pairs) + n + m - 2 * len(pairs)
        common = sum(int(a[i, k] and b[j, e]) for i, j in pairs for k, e in pairs if i < k)
        cost = nodes + int(a.sum() + b.sum()) // 2 - 2 * common
        best = cost if best is None else min(best, cost)
    return best
