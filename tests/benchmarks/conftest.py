import pytest

STUDY = """
seeds: [0, 1]
tasks:
- data: {name: PenDigits, train_size: 300}
  model: {name: mlp, options: {width: 16, depth: 2}}
  train: {epochs: 2, batch_size: 50}
methods:
- name: baseline
  grid: {lr: [1e-3, 0.01]}
- name: gcr
  grid: {loss_weight: [0.1, 1]}
"""


@pytest.fixture
def study_file(tmp_path):
    """Writes a small study, changed by replacing text, and gives its path."""

    def write(old="", new=""):
        assert old in STUDY
        path = tmp_path / "study.yaml"
        path.write_text(STUDY.replace(old, new) if old else STUDY)
        return path

    return write
