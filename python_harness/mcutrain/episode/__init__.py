"""Training episodes: what is trained where on what, and the record of what happened."""
