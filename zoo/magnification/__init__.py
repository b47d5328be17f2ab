"""Small motion made large: by colour over time, by phase, by flow, by a network."""
