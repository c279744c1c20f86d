"""Kademlia over UDP: how hosts find one another, and small signed values, without anybody's server."""
