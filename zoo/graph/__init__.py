"""Graphs of action units: adjacency, dense batched layers, sparse landmark graphs, and pictures of them on a face."""
