"""Checkpoint files: whole or not there, read without running code, and pretrained weights from them."""

import os
import pickle

import pytest
import torch
from nnunet_trainer import architecture
from nnunet_trainer.checkpoints import checkpoint, files
from nnunet_trainer.contract.faults import BadConfiguration, BadData
from nnunet_trainer.training import pretrained

from trainer.architecture.plans import plain


def content(epoch=1, **more):
    return {"network_weights": {"w": torch.arange(5.0)}, "current_epoch": epoch, **more}


def test_what_is_saved_is_loaded(tmp_path):
    path = tmp_path / "deep" / "checkpoint_latest.pth"
    digest = checkpoint.save(path, content())
    assert digest == checkpoint.sha256(path)
    assert checkpoint.digests(path) == [digest]
    assert torch.equal(checkpoint.load(path)["network_weights"]["w"], torch.arange(5.0))
    assert sorted(p.name for p in path.parent.iterdir()) == ["checkpoint_latest.pth", "checkpoint_latest.pth.sha256"]


@pytest.mark.parametrize("moment", ["before the file", "after the file"])
def test_a_crash_between_two_renames_loses_nothing(tmp_path, monkeypatch, moment):
    path = tmp_path / "checkpoint_latest.pth"
    checkpoint.save(path, content(1))
    replace, calls = os.replace, []

    class Crash(Exception):
        pass

    def crashing(source, target):
        calls.append(target)
        # The digests first, then the file, then the digests again.
        if len(calls) == (2 if moment == "before the file" else 3):
            raise Crash
        replace(source, target)

    monkeypatch.setattr(os, "replace", crashing)
    with pytest.raises(Crash):
        checkpoint.save(path, content(2))
    monkeypatch.undo()
    assert checkpoint.load(path)["current_epoch"] == (1 if moment == "before the file" else 2)


@pytest.mark.parametrize("how", ["cut", "changed", "empty", "garbage without digest"])
def test_damage_is_found(tmp_path, how):
    path = tmp_path / "checkpoint_latest.pth"
    checkpoint.save(path, content(**{checkpoint.EXTRA: {"format": 1}}))
    data = bytearray(path.read_bytes())
    match how:
        case "cut":
            data = data[:-20]
        case "changed":
            data[len(data) // 2] ^= 1
        case "empty":
            data = bytearray()
        case _:
            data = bytearray(b"no checkpoint at all")
            path.with_name(path.name + ".sha256").unlink()
    path.write_bytes(data)
    with pytest.raises(BadData) as refused:
        checkpoint.load(path)
    assert refused.value.reason == "DamagedCheckpoint"
    assert str(path) in refused.value.message


def test_a_cut_file_without_a_digest_is_damaged(tmp_path):
    path = tmp_path / "theirs.pth"
    torch.save(content(), path)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(BadData, match=r"theirs\.pth is not a whole checkpoint"):
        checkpoint.load(path)


class Runs:
    """A pickle that makes a file when it is read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_pickle_that_runs_code_is_refused(tmp_path):
    path, made = tmp_path / "evil.pth", tmp_path / "made"
    torch.save(content(extra=Runs(made)), path, pickle_module=pickle)
    with pytest.raises(BadData) as refused:
        checkpoint.load(path)
    assert refused.value.reason == "UnsafeCheckpoint"
    assert "--allow-pickle" in refused.value.hint
    assert not made.exists()
    checkpoint.load(path, allow_pickle=True)
    assert made.exists()


def test_what_is_no_checkpoint_is_said(tmp_path):
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(BadData, match="no network_weights"):
        checkpoint.load(tmp_path / "list.pth")
    with pytest.raises(BadData, match="There is no checkpoint"):
        checkpoint.load(tmp_path / "absent.pth")


@pytest.mark.parametrize("written", [2, 17, "two", 1.5])
def test_a_newer_format_is_refused_with_both_versions_and_not_passed_over(tmp_path, written):
    checkpoint.save(tmp_path / "old.pth", content(3, **{checkpoint.EXTRA: {"format": 1}}))
    checkpoint.save(tmp_path / "new.pth", content(9, **{checkpoint.EXTRA: {"format": written, "version": "9.9.9"}}))
    for read in (
        lambda: checkpoint.load(tmp_path / "new.pth"),
        lambda: checkpoint.newest([tmp_path / "old.pth", tmp_path / "new.pth"]),
    ):
        with pytest.raises(
            BadConfiguration, match=rf"format {written!r}, by nnunet-trainer 9.9.9; this is .*{checkpoint.version()}"
        ):
            read()


@pytest.mark.parametrize("extra", [None, {}, {"iteration": 3}, {"format": 1}])
def test_nnunets_own_and_older_checkpoints_have_no_format_to_refuse(tmp_path, extra):
    checkpoint.save(tmp_path / "x.pth", content(3, **({} if extra is None else {checkpoint.EXTRA: extra})))
    assert checkpoint.load(tmp_path / "x.pth")["current_epoch"] == 3


def test_the_most_advanced_whole_one_is_chosen(tmp_path):
    def save(name, epoch, iteration=0):
        checkpoint.save(tmp_path / name, content(epoch, **{checkpoint.EXTRA: {"iteration": iteration}}))
        return tmp_path / name

    paths = [save("a.pth", 3), save("b.pth", 4, 17), save("c.pth", 4, 5), save("d.pth", 9), tmp_path / "absent.pth"]
    paths[3].write_bytes(b"")
    found, problems = checkpoint.newest(paths)
    assert found is not None
    assert found.path.name == "b.pth"
    assert found.position == (4, 17)
    assert len(problems) == 1
    assert "d.pth" in problems[0]


def test_the_previous_one_is_kept(tmp_path):
    path = tmp_path / checkpoint.LATEST
    saved = []
    for epoch in (1, 2, 3, 4):
        checkpoint.keep_previous(path)
        saved.append(checkpoint.save(path, content(epoch)))
    assert checkpoint.load(path)["current_epoch"] == 4
    assert checkpoint.load(tmp_path / checkpoint.PREVIOUS)["current_epoch"] == 3
    assert checkpoint.digests(tmp_path / checkpoint.PREVIOUS) == [saved[2]], "not those of all before it"


def network(classes=3, channels=1, **changes):
    return architecture.build(plain(3, **changes), channels, classes, True)


def saved(path, net):
    checkpoint.save(path, {"network_weights": net.state_dict()})
    return path


def test_all_but_the_heads_are_loaded(tmp_path):
    source, target = network(classes=5), network(classes=3)
    heads = {k: v.clone() for k, v in target.state_dict().items() if pretrained.HEADS in k}
    report = pretrained.load(target, saved(tmp_path / "c.pth", source))
    for key, value in target.state_dict().items():
        assert torch.equal(value, heads[key] if key in heads else source.state_dict()[key])
    assert set(report.skipped) == set(heads)
    assert report.summary()["loaded"] == len(list(target.parameters())) - len(heads)


def test_weights_that_do_not_fit_are_named_with_both_shapes(tmp_path):
    path = saved(tmp_path / "c.pth", network(channels=2, features_per_stage=[4, 8, 16]))
    target = network()
    before = {k: v.clone() for k, v in target.state_dict().items()}
    with pytest.raises(BadConfiguration) as refused:
        pretrained.load(target, path)
    assert refused.value.reason == "PretrainedMismatch"
    text = "\n".join(refused.value.findings)
    assert "encoder.stages.0.0.convs.0.conv.weight: 4×2×3×3×3 in the file, 4×1×3×3×3 in the network" in text
    assert "all_modules" not in text
    assert all(torch.equal(value, before[key]) for key, value in target.state_dict().items())


def test_missing_stages_are_named(tmp_path):
    small = {"n_stages": 2, "features_per_stage": [4, 8], "kernel_sizes": [[3] * 3] * 2, "strides": [[1] * 3, [2] * 3]}
    path = saved(tmp_path / "c.pth", network(**small, n_conv_per_stage=[2, 2], n_conv_per_stage_decoder=[2]))
    with pytest.raises(BadConfiguration, match="are missing") as refused:
        pretrained.load(network(), path)
    assert any("not in the file" in line for line in refused.value.findings)


def test_prefixes_of_wrapped_networks_are_dropped(tmp_path):
    source = network()
    checkpoint.save(tmp_path / "c.pth", {"network_weights": {f"module._orig_mod.{k}": v for k, v in source.state_dict().items()}})
    assert pretrained.load(network(), tmp_path / "c.pth").summary()["mismatched"] == 0


@pytest.mark.parametrize(("extra", "readable"), [({}, True), ({checkpoint.EXTRA: {"format": 1}}, False)])
def test_a_file_that_nnunet_wrote_over_ours_is_read(tmp_path, extra, readable):
    """In place, so that the digest of the one before is left; one of ours with another digest than its own is refused."""
    path = tmp_path / "checkpoint_final.pth"
    checkpoint.save(path, content(1))
    torch.save({**content(2), **extra}, path)
    if readable:
        assert checkpoint.load(path)["current_epoch"] == 2
        checkpoint.save(path, content(3))
        assert checkpoint.digests(path) == [checkpoint.sha256(path)]
    else:
        with pytest.raises(BadData, match="another checkpoint than was written here"):
            checkpoint.load(path)


def test_names_of_one_file_get_files_of_their_own(tmp_path):
    final, best, latest = (tmp_path / name for name in (checkpoint.FINAL, checkpoint.BEST, checkpoint.LATEST))
    digest = checkpoint.save(final, content(1))
    checkpoint.name_also(final, best, digest)
    files.separate([final, best, latest])
    assert not final.samefile(best)
    torch.save(content(2), final)
    assert [checkpoint.load(path)["current_epoch"] for path in (final, best)] == [2, 1]
    assert checkpoint.sha256(best) == digest
