"""Micro-expressions made from action units, with the truth known."""
