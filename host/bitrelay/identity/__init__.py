"""Who somebody is on the mesh: two key pairs, and a proof that making them cost work (docs/identity.md)."""
