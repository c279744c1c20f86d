"""Bluetooth LE on a computer: relays are found, links to them are kept. The radio is whatever bleak drives."""
