import pytest

from bitrelay.gateway.mqtt_topics import Place, PlaceKind, Topics, is_prefix

ID = bytes(range(32))
TOPICS = Topics("club/bitrelay", "f00d")


@pytest.mark.parametrize("mesh", ["west", "Café am Eck", "ü" * 32])
def test_what_is_written_is_read(mesh: str) -> None:
    assert TOPICS.read(TOPICS.hello(ID)) == Place(PlaceKind.HELLO, ID)
    assert TOPICS.read(TOPICS.inbox(ID)) == Place(PlaceKind.INBOX, ID)
    assert TOPICS.read(TOPICS.frames(mesh)) == Place(PlaceKind.FRAMES, mesh=mesh)
    assert TOPICS.shared_frames(mesh) == f"$share/f00d/club/bitrelay/1/mesh/{mesh}/frames"


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "club/bitrelay",
        "club/bitrelay/1/",
        "club/bitrelay/2/mesh/west/frames",
        "club/bitrelay/1/mesh//frames",
        "club/bitrelay/1/mesh/a/b/frames",
        "club/bitrelay/1/mesh/" + "x" * 65 + "/frames",
        "club/bitrelay/1/gateway/00/hello",
        f"club/bitrelay/1/gateway/{ID.hex().upper()}/hello",
        f"club/bitrelay/1/gateway/{ID.hex()}/outbox",
        f"club/bitrelay/1/gateway/{ID.hex()}/hello/" + "x" * 65536,
    ],
)
def test_everything_else_is_nothing(topic: str) -> None:
    assert TOPICS.read(topic) is None


@pytest.mark.parametrize(
    ("text", "can"),
    [
        ("bitrelay", True),
        ("a/b c/ü", True),
        ("", False),
        ("/a", False),
        ("a/", False),
        ("a//b", False),
        ("a/+", False),
        ("#", False),
        ("$SYS", False),
        ("a\0", False),
        ("x" * 129, False),
    ],
)
def test_how_topics_may_begin(text: str, can: bool) -> None:
    assert is_prefix(text) is can
