"""Functions that nothing on a board calls are left out."""

from bitrelay.boards.unused import without_unused

SHARED = """def used():
    pass


@deco
def unused(a,
           b):
    return inner()


def inner():
    return inner()
"""


def test_what_nobody_names_goes_and_lines_stay() -> None:
    sources = {"shared": SHARED, "app": "from shared import used\n\n\ndef main():\n    used()\n"}
    left = without_unused(sources, ["app"])
    assert left["app"] == sources["app"]
    assert left["shared"].count("\n") == SHARED.count("\n")
    # inner() is called by itself and by what has gone.
    assert left["shared"].split() == ["def", "used():", "pass"]


def test_a_name_in_a_string_or_as_an_attribute_counts() -> None:
    for mention in ("x = 'unused'\n", "import shared\nshared.unused(1, 2)\n", "from shared import unused as other\n"):
        left = without_unused({"shared": SHARED, "app": mention}, ["app"])
        assert "def unused(" in left["shared"] and "def inner()" in left["shared"]


def test_programs_beside_the_relay_have_no_say() -> None:
    left = without_unused({"shared": SHARED, "app": "", "test": "from shared import unused\n"}, ["app"], ["test"])
    assert "unused" not in left["shared"] and left["test"] == "from shared import unused\n"
