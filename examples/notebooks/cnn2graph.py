# %% [markdown]
# # Attention to proxies (CNN2Graph)
#
# [Trivedy and Latecki 2023](https://openaccess.thecvf.com/content/WACV2023/html/Trivedy_CNN2Graph_Building_Graphs_for_Image_Classification_WACV_2023_paper.html):
# each sample attends to learned proxies and to anchors, samples of each class. Here on scikit-learn's 1,797 digits.

# %%
import torch
from sklearn.datasets import load_digits
from torch import nn

from pyg_relational.metrics import class_attention
from pyg_relational.nn import CNN2Graph, CNN2GraphLoss
from pyg_relational.visualize import attention_matrix

x, y = (torch.from_numpy(a) for a in load_digits(return_X_y=True))
x = x.float() / 16
train, test = torch.randperm(len(y), generator=torch.Generator().manual_seed(0)).split(1200)

# %%
torch.manual_seed(0)
backbone = nn.Sequential(nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 32))
model = CNN2Graph(backbone, 32, num_classes=10)
model.sets.choose(x[train], y[train])  # one training sample of each class is its anchor
loss = CNN2GraphLoss(weight=0.1)
optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
for _ in range(10):
    model.train()
    for rows in train[torch.randperm(len(train))].split(120):
        value = loss(model(x[rows]), y[rows])
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
model.eval()
with torch.no_grad():
    out = model(x[test])
print(f"test accuracy {(out.logits.argmax(1) == y[test]).float().mean():.3f}")

# %% [markdown]
# To which proxies the samples of each class attend.

# %%
with torch.no_grad():
    sets = (out.anchors, out.proxies)
    _, (_, to_proxies) = model.conv(out.embedding, sets, return_attention_weights=True)
weights = class_attention(to_proxies.mean(2), y[test], out.proxy_y, 10)
ax = attention_matrix(weights, vmax=float(weights.max()))
