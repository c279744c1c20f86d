"""NAT: what is behind it, and the way through."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
