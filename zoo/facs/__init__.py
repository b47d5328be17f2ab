"""What is known about the face, as plain data: coder notation, emotions, objective classes."""
