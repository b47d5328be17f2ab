"""Data sets faked in their real layout on disk, with the quirks of the releases; pictures are a few pixels."""
