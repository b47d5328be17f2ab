"""What stands behind a score: the halves of the face, groups of people, regions that decide, and what action units can tell."""
