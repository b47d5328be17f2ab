"""Handcrafted descriptors as scikit-learn transformers, one file each."""
