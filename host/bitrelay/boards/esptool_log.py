"""esptool's progress, turned into calls. What it prints is dropped: it would go where the answers of session.py go."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from esptool.logger import TemplateLogger, log


class _Listener(TemplateLogger):  # type: ignore[misc]
    def __init__(self) -> None:
        self.on_share: Callable[[float], None] = lambda share: None

    def print(self, *args: Any, **kwargs: Any) -> None:
        pass

    def note(self, message: str) -> None:
        pass

    def warning(self, message: str) -> None:
        pass

    def error(self, message: str) -> None:
        pass

    def stage(self, finish: bool = False) -> None:
        pass

    def set_verbosity(self, verbosity: str) -> None:
        pass

    def progress_bar(
        self, cur_iter: int, total_iters: int, prefix: str = "", suffix: str = "", bar_length: int = 30
    ) -> None:
        if total_iters:
            self.on_share(cur_iter / total_iters)


_listener = _Listener()


def keep_quiet() -> None:
    """From now on nothing of what esptool says is printed."""
    log.set_logger(_listener)


@contextmanager
def heard(on_share: Callable[[float], None]) -> Iterator[None]:
    """Call on_share with how much of a part is written, from 0 to 1; a share not larger than the last begins a part."""
    _listener.on_share = on_share
    try:
        yield
    finally:
        _listener.on_share = lambda share: None
