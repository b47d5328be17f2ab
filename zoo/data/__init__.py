"""Data sets, splits and the LightningDataModule."""
