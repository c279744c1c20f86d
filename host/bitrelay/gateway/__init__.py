"""Meshes joined over the internet: what crosses, to whom, and how much of it (docs/gateway-guide.md)."""
