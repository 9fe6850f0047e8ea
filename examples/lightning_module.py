"""GCR in a LightningModule: the loss is one more line of ``training_step``. Needs ``pip install lightning``."""

import logging
import warnings
from pathlib import Path

import lightning
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from pyg_relational.datasets import PenDigits
from pyg_relational.nn import FeatureCapture, GraphConsistencyLoss


class Classifier(lightning.LightningModule):
    """An MLP, its cross-entropy and the consistency of its two hidden layers."""

    def __init__(self, gcr_weight: float = 1.0) -> None:
        super().__init__()
        self.save_hyperparameters()  # with them, a checkpoint is loaded by load_from_checkpoint alone
        hidden = [nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU()]
        self.net = nn.Sequential(*hidden, nn.Linear(64, 10))
        self.consistency = GraphConsistencyLoss()
        self.capture = FeatureCapture(self.net, ["1", "3"])

    def training_step(self, batch: list[Tensor], index: int) -> Tensor:
        """Both terms are logged."""
        x, y = batch
        with self.capture as capture:
            logits = self.net(x)
        gcr = self.consistency(capture.features, logits, y)
        loss = cross_entropy(logits, y)
        self.log_dict({"loss": loss, "gcr": gcr})
        return loss + self.hparams.gcr_weight * gcr

    def validation_step(self, batch: list[Tensor], index: int) -> None:
        """Nothing is captured here."""
        x, y = batch
        self.log("accuracy", (self.net(x).argmax(1) == y).float().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW."""
        return torch.optim.AdamW(self.parameters(), lr=3e-3)


logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", module="lightning")
lightning.seed_everything(0, verbose=False)
data = PenDigits(Path(__file__).parents[1] / "datasets")
train, test = (TensorDataset(*data.split(part)) for part in ("train", "test"))
model = Classifier()
quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
trainer = lightning.Trainer(max_epochs=3, accelerator="cpu", **quiet)
trainer.fit(model, DataLoader(train, 128, shuffle=True), DataLoader(test, 1000))
print({name: round(value.item(), 3) for name, value in trainer.callback_metrics.items()})

path = trainer.checkpoint_callback.best_model_path
again = Classifier.load_from_checkpoint(path)
print("reloaded", torch.equal(next(again.parameters()), next(model.parameters()).cpu()))
