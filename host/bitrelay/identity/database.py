"""The tables in which a node remembers others."""

from typing import Final

from ..sqlite_file import Schema

PEERS: Final = Schema(
    application_id=0x42525043,  # "BRPC"
    version=1,
    tables="""
CREATE TABLE peers (
    peer_id BLOB PRIMARY KEY,
    record BLOB NOT NULL,
    expires_at INTEGER NOT NULL,
    reputation REAL NOT NULL,
    first_seen REAL NOT NULL,
    last_seen REAL NOT NULL,
    origin TEXT NOT NULL,
    addresses TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX peers_by_worth ON peers (reputation, last_seen - first_seen, last_seen);
CREATE INDEX peers_by_expiry ON peers (expires_at);
CREATE TABLE arrivals (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    peer_id BLOB NOT NULL,
    challenge_data BLOB NOT NULL,
    difficulty INTEGER NOT NULL,
    computed_at REAL NOT NULL,
    created_at REAL NOT NULL,
    first_seen REAL NOT NULL,
    origin TEXT NOT NULL,
    addresses TEXT NOT NULL,
    renewal INTEGER NOT NULL
);
CREATE INDEX arrivals_by_time ON arrivals (first_seen);
CREATE TABLE watched (only INTEGER PRIMARY KEY CHECK (only = 0), since REAL NOT NULL, until REAL NOT NULL);
""",
    indexes="""
CREATE INDEX IF NOT EXISTS arrivals_by_proof ON arrivals (peer_id, challenge_data);
CREATE INDEX IF NOT EXISTS arrivals_of_renewals ON arrivals (number) WHERE renewal;
""",
)
