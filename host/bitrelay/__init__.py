"""bitrelay: Bluetooth mesh relays on ESP32 boards, and the tools of the people who run them."""

__version__ = "0.1.0"
