"""Pixels to motion; nothing is learned here."""
