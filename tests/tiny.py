"""Flags that every test of training shares: a data set that no organiser has counted, small batches, one epoch."""

from __future__ import annotations

TINY = ["--data.complete", "false", "--data.batch_size", "16", "--trainer.max_epochs", "1"]
