"""The GPU page: its code runs without a GPU, and without one it claims nothing."""

import pytest
import torch

from benchmarks import gpu


def test_intervals_that_overlap_count_once():
    assert gpu.covered([(5.0, 6.0), (0.0, 2.0), (1.0, 3.0), (1.5, 1.6)]) == 4.0
    assert gpu.covered([]) == 0.0


@pytest.mark.skipif(torch.cuda.is_available(), reason="would measure for minutes")
def test_without_a_gpu_nothing_is_written(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(gpu, "PAGE", tmp_path / "page.md")
    gpu.main([])
    assert "no GPU at hand" in capsys.readouterr().out
    assert not (tmp_path / "page.md").exists()


def test_the_code_runs_at_tiny_sizes_on_the_cpu():
    text = "\n".join(gpu.table(gpu.TINY[:1], torch.device("cpu"), 1, 16))
    assert text.count("not a GPU") == 2 and "training step, 8x8, width 8, float32" in text
