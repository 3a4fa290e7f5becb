"""What a session does only where there is a GPU, by what it would find there."""

import logging
import sysconfig
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from nnunet_trainer.training.recipes.recipe import Recipe
from nnunet_trainer.training.session import batch_loading, preparation

GPU = torch.device("cuda")


@pytest.mark.parametrize(
    ("compiler", "header", "lacking"),
    [(True, True, None), (False, True, "no C compiler"), (True, False, "Python.h"), (False, False, "no C compiler")],
)
@pytest.mark.parametrize("asked", [None, True, False])
def test_what_cannot_be_compiled_is_not_unless_it_was_asked_for(asked, compiler, header, lacking, tmp_path, monkeypatch, caplog):
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr("shutil.which", lambda name: "/usr/bin/gcc" if compiler and name == "gcc" else None)
    monkeypatch.setattr(sysconfig, "get_paths", lambda: {"include": str(tmp_path)})
    if header:
        (tmp_path / "Python.h").touch()
    with caplog.at_level(logging.WARNING):
        compiles = preparation._compiles(Recipe(compile=asked), GPU)
    assert compiles == (not lacking if asked is None else asked)
    said = caplog.text
    assert (lacking in said) if asked is None and lacking else not said
    assert not preparation._compiles(Recipe(compile=asked), torch.device("cpu"))


@pytest.mark.parametrize("code", [0, 2, 801])
def test_memory_that_cannot_be_page_locked_leaves_no_error_for_the_next_kernel(code, monkeypatch, caplog):
    """As CUDA does: the error stays until it is asked for, and torch asks after each kernel."""
    memory, registered, left = np.zeros(64, np.uint8), [], []

    def register(address, size, flags):
        registered.append((address, size))
        if code:
            left.append(code)
        return code

    def kernel(*_, device):
        assert device == "cuda"
        if left:
            raise RuntimeError(f"CUDA error: {left.pop()}")

    runtime = SimpleNamespace(cudaHostRegister=register, cudaHostUnregister=registered.remove)
    monkeypatch.setattr(torch.cuda, "cudart", lambda: runtime)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(torch, "zeros", kernel)
    undo = batch_loading.page_locked(memory)
    assert registered == [(memory.ctypes.data, 64)]
    assert not left
    assert ("page-locked" in caplog.text) == bool(code)
    runtime.cudaHostUnregister = lambda address: registered.append(address)
    undo()
    assert (registered[-1] == memory.ctypes.data) == (not code)
