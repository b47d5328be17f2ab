"""From data sets on disk to a manifest of clips, from there to splits, inputs and the LightningDataModule."""
