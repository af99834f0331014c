"""LoRA adapters on a network: beside its weights, or added to them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from peft import PeftModel
from peft.tuners.lora import LoraLayer
from torch import nn

from greaves.base.errors import ModelError
from greaves.models.loading import ADAPTER, one_line


def projections(network: Any, targets: tuple[str, ...]) -> list[str]:
    """Full names of the linear modules in the decoder's layers whose last name is in `targets`.

    Only layers count, for some families' decoders contain the audio tower.
    """
    inside = set(network.get_decoder().layers.modules())
    return [
        name
        for name, module in network.named_modules()
        if module in inside and isinstance(module, nn.Linear) and name.rpartition(".")[2] in targets
    ]


def _wrapped(network: Any, folder: str) -> Any:
    """The network with an adapter; peft would unpickle one that has no safetensors weights."""
    if not (Path(folder) / "adapter_model.safetensors").is_file():
        raise ModelError(
            "the adapter has no safetensors weights; pickled ones are never read", where=folder
        )
    try:
        with one_line("not an adapter of this model", Path(folder)):
            return PeftModel.from_pretrained(network, folder, is_trainable=False)
    except ModelError:
        _take_off(network)  # peft puts its modules in before it reads their weights
        raise


def _take_off(network: Any) -> None:
    """Put the plain modules back where LoRA modules stand, and forget their configuration."""
    found = [one for one in network.named_modules() if isinstance(one[1], LoraLayer)]
    for name, module in found:
        parent, _, own = name.rpartition(".")
        setattr(network.get_submodule(parent), own, module.get_base_layer())
    if hasattr(network, "peft_config"):
        del network.peft_config


@contextmanager
def adapter_beside(network: Any, folder: str) -> Iterator[None]:
    """Run a saved LoRA adapter beside the weights until the context is left."""
    wrapped = _wrapped(network, folder)
    wrapped.eval()
    try:
        yield
    finally:
        wrapped.unload()


@contextmanager
def adapter_merged(network: Any, folder: str) -> Iterator[None]:
    """Add a saved LoRA adapter to the weights; the very same tensors come back, bit for bit.

    Raises:
        ModelError: peft cannot merge it.
    """
    wrapped = _wrapped(network, folder)
    bases = [
        module.base_layer.weight for module in network.modules() if isinstance(module, LoraLayer)
    ]
    before = [weight.data for weight in bases]
    try:
        # "safe": the sum is a new tensor, and the old one stays as it is.
        wrapped.merge_and_unload(safe_merge=True)
    except ValueError as error:
        wrapped.unload()
        raise ModelError(f"the adapter cannot be merged ({error})", where=folder) from None
    try:
        yield
    finally:
        for weight, data in zip(bases, before, strict=True):
            weight.data = data


def merge_own_adapter(network: Any, folder: Path) -> None:
    """Add the adapter that a checkpoint brings along to the weights; none is left beside them.

    Args:
        network: of transformers, bare.
        folder: the checkpoint; without an adapter in it, nothing happens.

    Raises:
        ModelError: the adapter is pickled.
        ValueError: it is of another network.
    """
    if not (folder / ADAPTER).is_file():
        return
    if not any(folder.glob("adapter*.safetensors")):
        what = "the checkpoint's own adapter has no safetensors weights"
        do = "convert them; pickled ones (.bin) are never read, as they may run code"
        raise ModelError(what, where=str(folder), do=do)
    if wanting := network.load_adapter(str(folder)).missing_keys:
        raise ValueError(f"{len(wanting)} weights are not in its adapter, as {min(wanting)}")
    for module in network.modules():
        if isinstance(module, LoraLayer):
            module.merge(safe_merge=True)
    network._hf_peft_config_loaded = False
    _take_off(network)
