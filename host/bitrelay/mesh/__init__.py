"""The mesh as computers see it."""
