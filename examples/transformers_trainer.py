"""GCR in a Hugging Face Trainer: ``compute_loss`` reads ``hidden_states``. Needs ``transformers`` and ``accelerate``.

A small BERT without pretrained weights tells sequences of two kinds of words apart; a model of yours takes its place.
"""

import contextlib
import io
import tempfile
from typing import Any

import torch
from torch import Tensor
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments
from transformers.utils import logging

from pyg_relational.nn import GraphConsistencyLoss


class ConsistentTrainer(Trainer):
    """Adds the consistency of the [CLS] vectors of every layer."""

    consistency = GraphConsistencyLoss()

    def compute_loss(
        self, model: Any, inputs: dict[str, Tensor], return_outputs: bool = False, **kwargs: Any
    ) -> Any:
        """Cross-entropy of the model + graph consistency."""
        output = model(**inputs, output_hidden_states=True)
        features = [state[:, 0] for state in output.hidden_states[1:]]  # [n, tokens, d]
        loss = output.loss + self.consistency(features, output.logits, inputs["labels"])
        return (loss, output) if return_outputs else loss


def sentences(n: int) -> list[dict[str, Tensor]]:
    """Twelve words, mostly from the lower or from the upper half of the vocabulary."""
    labels = torch.randint(2, (n,))
    words = torch.randint(1, 20, (n, 12)) + 15 * labels[:, None]
    return [{"input_ids": w, "labels": y} for w, y in zip(words, labels, strict=True)]


logging.set_verbosity_error()
logging.disable_progress_bar()
torch.manual_seed(0)
sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 4}
config = BertConfig(vocab_size=40, num_attention_heads=2, num_labels=2, **sizes)
train, test = sentences(512), sentences(256)
with tempfile.TemporaryDirectory() as folder:
    arguments = TrainingArguments(
        folder, num_train_epochs=3, per_device_train_batch_size=32, learning_rate=2e-3,
        use_cpu=True, report_to=[], disable_tqdm=True, save_strategy="no",
    )  # fmt: skip
    trainer = ConsistentTrainer(
        BertForSequenceClassification(config), arguments, train_dataset=train, eval_dataset=test
    )
    with contextlib.redirect_stdout(io.StringIO()):
        trainer.train()
        prediction = trainer.predict(test)
accuracy = (prediction.predictions[0].argmax(1) == prediction.label_ids).mean()
print(f"test accuracy {accuracy:.3f}")
