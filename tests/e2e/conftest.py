"""End-to-end tests: whole labs of virtual boards and phones, one test per promise."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
