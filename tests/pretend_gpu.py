"""A pretend GPU: tensors that say they are on cuda:0, and are computed on the CPU.

- An operation of a tensor here with one there raises, as on a GPU.
- Whatever makes the host wait for the device is noted; within a capture it raises.
- A graph notes the operations of its capture and replays them on the very same memory, as a real one
  replays addresses: Python does not run again, and what was replaced since is not seen.
- A pool that no graph uses any more cannot be captured into.

Only what torch itself says and does about CUDA is replaced, none of our own code.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from typing import Any, Self

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

aten = torch.ops.aten
DEVICE = torch.device("cuda", 0)
WAITS = {
    "aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::equal",
    "aten::is_nonzero", "aten::_unique2", "aten::unique_consecutive",
    "aten::repeat_interleave.Tensor",
}  # fmt: skip
INDEXING = {"aten::index", "aten::index_put_", "aten::index_put", "aten::_index_put_impl_"}


class MixedDevicesError(RuntimeError):
    """An operation of tensors on two devices."""


class OnGpu(torch.Tensor):
    """A tensor that says it is on cuda:0; `here` has its values."""

    here: torch.Tensor

    @staticmethod
    def __new__(cls, here: torch.Tensor) -> Self:
        made: Self = torch.Tensor._make_wrapper_subclass(
            cls, here.size(), strides=here.stride(), storage_offset=here.storage_offset(),
            dtype=here.dtype, layout=here.layout, device=DEVICE, requires_grad=False,
        )  # fmt: skip
        made.here = here
        return made

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        return f"OnGpu({tuple(self.shape)}, {self.dtype})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return GPU.run(func, args, kwargs or {})

    def tolist(self) -> Any:
        GPU.wait("tolist")
        return self.here.tolist()

    def contiguous(self, memory_format: Any = torch.contiguous_format) -> Any:
        if self.is_contiguous(memory_format=memory_format):
            return self
        return self.clone(memory_format=memory_format)

    def __getitem__(self, index: Any) -> Any:
        view, rest = _basic_indexing(self, index)
        return view if rest is None else aten.index.Tensor(view, rest)

    def __setitem__(self, index: Any, value: Any) -> None:
        view, rest = _basic_indexing(self, index)
        if rest is not None:
            value = value if isinstance(value, torch.Tensor) else torch.tensor(value)
            aten.index_put_.default(view, rest, value.to(self.dtype))
        elif isinstance(value, torch.Tensor):
            while value.dim() > view.dim():
                value = value.squeeze(0)
            view.copy_(value)
        else:
            view.fill_(value)

    def copy_(self, source: Any, non_blocking: bool = False) -> Any:  # type: ignore[override]
        return GPU.run(aten.copy_.default, (self, source, non_blocking), {})

    def numpy(self, **_: Any) -> Any:
        raise TypeError("can't convert cuda:0 device type tensor to numpy")


def _basic_indexing(tensor: Any, index: Any) -> tuple[Any, list[Any] | None]:
    """The view that numbers, slices, None and ... make, and what is left for advanced indexing."""
    parts = list(index) if isinstance(index, tuple) else [index]
    parts = [torch.tensor(part) if isinstance(part, (list, range)) else part for part in parts]
    used = sum(
        part.dim() if isinstance(part, torch.Tensor) and part.dtype == torch.bool else 1
        for part in parts
        if part is not None and part is not Ellipsis
    )
    if not any(part is Ellipsis for part in parts):
        parts.append(Ellipsis)
    at = next(number for number, part in enumerate(parts) if part is Ellipsis)
    parts[at : at + 1] = [slice(None)] * (tensor.dim() - used)
    dimension, rest = 0, []
    for part in parts:
        if part is None:
            tensor = aten.unsqueeze.default(tensor, dimension)
        elif isinstance(part, slice):
            if part != slice(None):
                tensor = aten.slice.Tensor(tensor, dimension, part.start, part.stop, part.step or 1)
        elif isinstance(part, torch.Tensor):
            rest.append(part)
            dimension += part.dim() if part.dtype == torch.bool else 1
            continue
        else:
            tensor = aten.select.int(tensor, dimension, int(part))
            continue
        rest.append(None)
        dimension += 1
    return tensor, rest if any(part is not None for part in rest) else None


@contextlib.contextmanager
def _on_the_host() -> Iterator[None]:
    guard = torch._C._DisableTorchDispatch()
    try:
        yield
    finally:
        del guard


class PretendGpu(TorchDispatchMode):
    """The device: what it was asked to do, and what waited for it."""

    def __init__(self) -> None:
        super().__init__()
        self.clear()

    def clear(self) -> None:
        self.waits: Counter[str] = Counter()
        self.operations = 0
        self.captures: list[str] = []
        """The error mode of each capture."""
        self.replays = 0
        self.tape: list[Any] | None = None
        self.before: dict[int, Any] = {}
        self.pools: Counter[int] = Counter()
        self.fail_captures: list[BaseException] = []
        self.copies: Counter[str] = Counter()
        """Bytes that were copied to the device, from pinned and from other memory."""

    def wait(self, what: str) -> None:
        self.waits[what] += 1
        if self.tape is not None:
            raise RuntimeError(f"operation not permitted when stream is capturing: {what}")

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self.run(func, args, kwargs or {})

    def run(self, func: Any, args: Any, kwargs: Any) -> Any:
        """One operation, wherever its tensors are."""
        flat, _ = tree_flatten((args, kwargs))
        there = [value for value in flat if isinstance(value, OnGpu)]
        device = kwargs.get("device")
        wanted = None if device is None else torch.device(device)
        to_gpu = wanted is not None and wanted.type == "cuda"
        if not there and not to_gpu:
            named = any(isinstance(v, torch.device) and v.type == "cuda" for v in flat)
            return self._decomposed(func, args, kwargs) if named else func(*args, **kwargs)
        composite = "CompositeImplicitAutograd"
        if torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), composite):
            made = self._decomposed(func, args, kwargs)
            if made is not NotImplemented:
                return made
        name = func._schema.name
        self._check(name, args, flat)
        if name == "aten::copy_":
            copied = self._copy(args, kwargs)
            if copied is not None:
                return copied
        if name == "aten::_to_copy":
            return self._to(args[0], kwargs, to_gpu=to_gpu or wanted is None)
        return self._computed(func, args, kwargs, there, wanted)

    def _decomposed(self, func: Any, args: Any, kwargs: Any) -> Any:
        with self:
            return func.decompose(*args, **kwargs)

    def _check(self, name: str, args: Any, flat: list[Any]) -> None:
        """What mixes devices raises; what waits is noted."""
        here = [v for v in flat if isinstance(v, torch.Tensor) and not isinstance(v, OnGpu)]
        if name in INDEXING:
            if not isinstance(args[0], OnGpu):
                raise MixedDevicesError(name)
            indices = [each for each in args[1] if isinstance(each, torch.Tensor)]
            for each in indices:
                if not isinstance(each, OnGpu):
                    self.wait(f"{name} with an index on the host")
                elif each.dtype == torch.bool:
                    self.wait(f"{name} with a mask")
        else:
            tensors = sum(isinstance(value, torch.Tensor) for value in flat)
            copies = name in {"aten::copy_", "aten::_to_copy", "aten::lift_fresh"}
            if not copies and len(here) < tensors and any(value.dim() for value in here):
                raise MixedDevicesError(name)
        if name in WAITS:
            self.wait(name)

    def _copy(self, args: Any, kwargs: Any) -> Any:
        """A copy from one device to the other; None: both are on the GPU."""
        target, source = args[:2]
        if isinstance(target, OnGpu) and isinstance(source, OnGpu):
            return None
        if isinstance(target, OnGpu):
            self._note_copy(source, (len(args) > 2 and args[2]) or kwargs.get("non_blocking"))
            target.here.copy_(source)
        else:
            self.wait("copy to the host")
            target.copy_(source.here)
        return target

    def _to(self, source: torch.Tensor, kwargs: Any, *, to_gpu: bool) -> Any:
        options = {k: v for k, v in kwargs.items() if k in {"dtype", "memory_format"}}
        if isinstance(source, OnGpu):
            if not to_gpu:
                self.wait("copy to the host")
                return aten._to_copy.default(source.here, **options)
            return self._computed(aten._to_copy.default, (source,), options, [source], None)
        if not to_gpu:
            return aten._to_copy.default(source, **options)
        self._note_copy(source, kwargs.get("non_blocking"))
        with _on_the_host():
            return OnGpu(aten._to_copy.default(source, **options))

    def _note_copy(self, source: torch.Tensor, non_blocking: Any) -> None:
        pinned = source.untyped_storage().data_ptr() in PINNED
        if source.dim():
            self.copies["pinned" if pinned else "pageable"] += (
                source.numel() * source.element_size()
            )
        if self.tape is not None or (source.dim() and not (pinned and non_blocking)):
            self.wait("copy to the device from memory that is not pinned")

    def _computed(
        self, func: Any, args: Any, kwargs: Any, there: list[Any], wanted: torch.device | None
    ) -> Any:
        """The operation on the values, noted on the tape of a capture."""

        def value(each: Any) -> Any:
            return each.here if isinstance(each, OnGpu) else each

        args, kwargs = tree_map(value, args), tree_map(value, kwargs)
        if "device" in kwargs:
            kwargs["device"] = torch.device("cpu")
        if "pin_memory" in kwargs:
            kwargs["pin_memory"] = False
        if wanted is not None and wanted.type == "cpu":
            return func(*args, **kwargs)
        if self.tape is not None:
            self._remember_written(func, args)
        with _on_the_host():
            made = func(*args, **kwargs)
        self.operations += 1
        if self.tape is not None:
            self.tape.append((func, args, kwargs, made))
        known = {id(each.here): each for each in there}

        def wrapped(each: Any) -> Any:
            if isinstance(each, torch.Tensor):
                return known.get(id(each)) if id(each) in known else OnGpu(each)
            return each

        return tree_map(wrapped, made)

    def _remember_written(self, func: Any, args: Any) -> None:
        """Keep what a capture overwrites: it computes nothing."""
        for parameter, argument in zip(func._schema.arguments, args, strict=False):
            written = parameter.alias_info is not None and parameter.alias_info.is_write
            if written and isinstance(argument, torch.Tensor):
                storage = argument.untyped_storage()
                with _on_the_host():
                    self.before.setdefault(storage.data_ptr(), (storage, storage.clone()))


class Graph:
    """A CUDA graph: the operations of its capture, replayed in place."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.tape: list[Any] = []
        self._pool: int | None = None

    def pool(self) -> int | None:
        return self._pool

    def begin(self, pool: int | None) -> None:
        if pool is None:
            pool = len(GPU.pools) + 1
        elif not GPU.pools[pool]:
            raise AssertionError("use_count > 0: the pool's last graph is gone")
        GPU.pools[pool] += 1
        self._pool = pool
        GPU.tape, GPU.before = [], {}

    def end(self) -> None:
        self.tape, GPU.tape = GPU.tape or [], None
        for storage, content in GPU.before.values():
            storage.copy_(content)
        GPU.before = {}

    def replay(self) -> None:
        GPU.replays += 1
        with _on_the_host(), torch.no_grad():
            for func, args, kwargs, made in self.tape:
                _replay(func, args, kwargs, made)

    def __del__(self) -> None:
        if self._pool is not None:
            GPU.pools[self._pool] -= 1


def _replay(func: Any, args: Any, kwargs: Any, made: Any) -> None:
    arguments, results = func._schema.arguments, func._schema.returns
    if any(each.alias_info is not None and not each.alias_info.is_write for each in results):
        return  # a view
    again = func(*args, **kwargs)
    if any(each.alias_info is not None and each.alias_info.is_write for each in arguments):
        return
    for old, new in zip(tree_flatten(made)[0], tree_flatten(again)[0], strict=True):
        if isinstance(old, torch.Tensor):
            old.copy_(new)


@contextlib.contextmanager
def _capturing(
    graph: Graph, pool: int | None = None, capture_error_mode: str = "global", **_: Any
) -> Iterator[None]:
    GPU.captures.append(capture_error_mode)
    graph.begin(pool)
    try:
        if GPU.fail_captures:
            raise GPU.fail_captures.pop(0)
        yield
    finally:
        graph.end()


class Stream:
    def __init__(self, *_: Any, **__: Any) -> None: ...

    def wait_stream(self, _: Any) -> None: ...


GPU = PretendGpu()
PINNED: set[int] = set()


def install(monkeypatch: pytest.MonkeyPatch, *, free: int = 60 << 30) -> PretendGpu:
    """Let torch say that there is a GPU; models are loaded before, and moved by `move`."""
    torch._C._ensureCUDADeviceGuardSet()
    GPU.clear()
    tensor, empty = torch.tensor, torch.empty

    def make_tensor(data: Any, *, device: Any = None, **options: Any) -> Any:
        made = tensor(data, **options)
        if device is None or torch.device(device).type != "cuda":
            return made
        if made.numel():
            GPU.wait("torch.tensor on the device")
        return OnGpu(made)

    def make_empty(*size: Any, pin_memory: bool = False, **options: Any) -> Any:
        made = empty(*size, **options)
        if pin_memory:
            PINNED.add(made.untyped_storage().data_ptr())
        return made

    monkeypatch.setattr(torch, "tensor", make_tensor)
    monkeypatch.setattr(torch, "empty", make_empty)
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda *_: None)
    replaced: dict[str, Any] = {
        "is_available": lambda: True,
        "is_initialized": lambda: True,
        "current_device": lambda: 0,
        "synchronize": lambda *_: None,
        "empty_cache": lambda: None,
        "mem_get_info": lambda *_: (free, 80 << 30),
        "memory_allocated": lambda *_: 0,
        "max_memory_allocated": lambda *_: 0,
        "reset_peak_memory_stats": lambda *_: None,
        "Stream": Stream,
        "current_stream": lambda *_: Stream(),
        "stream": lambda _: contextlib.nullcontext(),
        "CUDAGraph": Graph,
        "graph": _capturing,
        "is_current_stream_capturing": lambda: GPU.tape is not None,
    }
    for name, value in replaced.items():
        monkeypatch.setattr(torch.cuda, name, value)
    return GPU


def move(network: torch.nn.Module) -> None:
    """Parameters and buffers become tensors on the pretend GPU."""
    for module in network.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                there = OnGpu(parameter.detach())
                module._parameters[name] = torch.nn.Parameter(there, requires_grad=False)
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = OnGpu(buffer.detach())
