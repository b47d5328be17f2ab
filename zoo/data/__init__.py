"""From data sets on disk to a manifest of clips, from there to splits and inputs."""
