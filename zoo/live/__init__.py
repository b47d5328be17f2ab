"""While it happens: a camera is read as it runs."""
