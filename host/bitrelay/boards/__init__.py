"""Real boards and virtual ones alike: what they are, what goes onto them, and how it gets there."""
