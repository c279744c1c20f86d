"""What pyserial opens for rfc2217:// URLs once this package is installed: it asks this module for `Serial`."""

from bitrelay.rfc2217 import QuickRfc2217Port as Serial

__all__ = ["Serial"]
