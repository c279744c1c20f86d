"""Identity events as log lines (row POW-40)."""

import logging

from .difficulty import DifficultyAdjusted
from .events import IdentityEvent, IdentityRefreshed, SybilAttemptDetected
from .generate import IdentityGenerated
from .mining import SolutionFound

_log = logging.getLogger(__name__)
# Enough to look into; all of them are in the event.
_MOST_FINDINGS = 8


def log_event(event: IdentityEvent) -> None:
    """One line for each event, and one for each of the most certain findings of a Sybil attempt, as a warning."""
    if isinstance(event, IdentityGenerated):
        proof = event.local.proof
        _log.info("Identity %s made, %d bits", proof.peer_id.hex(), proof.difficulty)
    elif isinstance(event, IdentityRefreshed):
        fresh = event.new_identity
        _log.info(
            "Identity %s refreshed, %d bits, %d times", event.old_peer.hex(), fresh.difficulty, fresh.refresh_count
        )
    elif isinstance(event, SolutionFound):
        _log.info("Proof of work found: %d hashes in %.1f s", event.tried, event.solve_time_s)
    elif isinstance(event, DifficultyAdjusted):
        _log.info("Difficulty of new proofs of work: %d bits, was %d", event.new, event.old)
    elif isinstance(event, SybilAttemptDetected):
        for finding in event.findings[:_MOST_FINDINGS]:
            _log.warning("Possible Sybil attempt, %s (%d ids): %s", finding.reason, len(finding.ids), finding.evidence)
        more = len(event.findings) - _MOST_FINDINGS
        if more > 0:
            _log.warning("Possible Sybil attempt: %d more findings", more)
