import torch
from torch.nn.functional import cosine_similarity

from benchmarks.accuracy.methods import register as methods
from benchmarks.accuracy.train import predict
from tests.benchmarks.test_gll import blobs, encoder, hide


def logits(train, x, **options):
    return predict(methods["prototypes"](encoder(), train, **options), x).logits


def test_labelled_samples_are_the_prototypes():
    samples, test = blobs(20), blobs(10, seed=1)
    assert (logits(hide(samples, 5), test.x).argmax(1) == test.y).float().mean() > 0.9


def test_a_large_temperature_is_the_mean_of_the_class():
    samples, test = blobs(20), blobs(10, seed=1)
    means = torch.stack([samples.x[samples.y == c].mean(0) for c in range(3)])
    found = logits(samples, test.x, temperature=1e6, center=False)
    torch.testing.assert_close(
        found, 10 * cosine_similarity(test.x[:, None], means, dim=2), rtol=1e-4, atol=1e-4
    )
