"""What is known about the face, as plain data."""
