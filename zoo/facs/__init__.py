"""What is known about the face, as plain data: geometry, coder notation, emotions, objective classes."""
