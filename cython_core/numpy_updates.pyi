"""Types of the optimizers' loops for NumPy arrays."""

from typing import Any, final

@final
class Loop:
    def __init__(self, *args: Any, **kwargs: Any) -> None: ...
    def __call__(
        self, targets: tuple[Any, ...], gradients: tuple[Any, ...], coefficients: tuple[float, ...]
    ) -> list[int]: ...

loops: dict[str, Loop]
