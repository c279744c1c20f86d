"""Who asks too much is refused, and others are not."""

from bitrelay.dht.question_limit import MAX_NODES, PER_NODE, UNPROVED, WINDOW_S, QuestionLimit

from .small_network import node_id


def test_one_node_has_its_share_of_each_window() -> None:
    limit = QuestionLimit()
    assert [limit.allow(node_id(1), 5.0) for _ in range(PER_NODE + 2)] == [True] * PER_NODE + [False] * 2
    assert limit.allow(node_id(2), 5.0)
    assert limit.allow(node_id(1), 5.0 + WINDOW_S)


def test_those_who_proved_nothing_share_theirs() -> None:
    limit = QuestionLimit()
    assert sum(limit.allow(None, 0.0) for _ in range(2 * UNPROVED)) == UNPROVED
    assert limit.allow(node_id(1), 0.0)


def test_a_flood_of_ids_is_not_remembered_one_by_one() -> None:
    limit = QuestionLimit()
    allowed = sum(limit.allow(node_id(number), 1.0) for number in range(2 * MAX_NODES))
    assert allowed == MAX_NODES + UNPROVED
    assert limit.allow(node_id(0), 1.0), "those who came first go on"


def test_a_clock_that_goes_back_locks_nobody_out() -> None:
    limit = QuestionLimit()
    for _ in range(PER_NODE + 1):
        limit.allow(node_id(1), 1000.0)
    assert limit.allow(node_id(1), 999.0)
