"""A default device for tests that were written for the CPU, with generators of the CPU."""

from __future__ import annotations

from typing import Any

from torch.utils._device import DeviceContext, _device_constructors


class OnDevice(DeviceContext):
    """As ``with torch.device(...)``; what a CPU's generator draws, the same numbers as ever, is moved."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        generator = kwargs.get("generator")
        on_cpu = generator is not None and generator.device.type == "cpu"
        if on_cpu and func in _device_constructors() and kwargs.get("device") is None:
            wanted = kwargs.pop("requires_grad", False)
            return func(*args, **{**kwargs, "device": "cpu"}).to(self.device).requires_grad_(wanted)
        return super().__torch_function__(func, types, args, kwargs)
