"""Defence against identities that are many but belong to one: what is suspicious, and how sure that is."""
