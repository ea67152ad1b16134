"""Runners: they take a firmware (or host library) and an episode image, and give back the lines of docs/protocol.md."""
