"""Hosts behind address translation: what kind it is, and how two such hosts reach one another (row DSC-33)."""
