"""Measurements: what bitrelay costs and how well it does, beside others where there are any."""
