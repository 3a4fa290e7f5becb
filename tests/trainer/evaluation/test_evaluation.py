import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nnunet_trainer import cli
from nnunet_trainer.contract.faults import BadData, ExitCode
from nnunet_trainer.dataset.readers import by_name
from nnunet_trainer.evaluation import overlap, read_summary, summarize, summary, write_summary

VOXELS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=60)


def counted_one_by_one(reference, prediction, region, ignore):
    members = [region] if isinstance(region, int) else region
    pairs = [(r in members, p in members) for r, p in zip(reference, prediction, strict=True) if r != ignore]
    return {"TP": pairs.count((True, True)), "FP": pairs.count((False, True)), "FN": pairs.count((True, False))}


@given(VOXELS, st.sampled_from([None, 4]), st.booleans())
def test_counts(voxels, ignore, wide):
    reference, prediction = (np.array(v) * (5000 if wide else 1) for v in zip(*voxels, strict=True))
    scale = 5000 if wide else 1
    regions = [1 * scale, (1 * scale, 2 * scale), 3 * scale]
    ignore = None if ignore is None else ignore * scale
    found = overlap(reference, prediction, regions, ignore)
    kept = sum(r != ignore for r in reference)
    for region in regions:
        counts = counted_one_by_one(reference.tolist(), prediction.tolist(), region, ignore)
        got = found[region]
        assert {name: got[name] for name in counts} == counts
        assert got["TP"] + got["FP"] + got["FN"] + got["TN"] == kept
        assert (got["n_ref"], got["n_pred"]) == (counts["TP"] + counts["FN"], counts["TP"] + counts["FP"])
        if counts["TP"] + counts["FP"] + counts["FN"]:
            assert got["Dice"] == 2 * counts["TP"] / (2 * counts["TP"] + counts["FP"] + counts["FN"])
        else:
            assert math.isnan(got["Dice"])
            assert math.isnan(got["IoU"])


def test_a_label_in_neither_does_not_count_in_the_mean():
    cases = [
        {"metrics": overlap(np.array([1, 1]), np.array([1, 0]), [1, 2])},
        {"metrics": overlap(np.array([1, 2]), np.array([1, 2]), [1, 2])},
    ]
    result = summarize(cases, [1, 2])
    assert result["mean"][2]["Dice"] == 1
    assert result["mean"][1]["Dice"] == (2 / 3 + 1) / 2
    assert result["foreground_mean"]["Dice"] == (result["mean"][1]["Dice"] + 1) / 2


@pytest.fixture
def folders(tmp_path):
    """Reference and predicted segmentations of three cases, with an ignore label."""
    rng, writer = np.random.default_rng(0), by_name("SimpleITKIO")
    geometry = {"sitk_stuff": {"spacing": (1.0, 1.0, 2.0), "origin": (0.0, 0.0, 0.0), "direction": (1, 0, 0, 0, 1, 0, 0, 0, 1)}}
    for part, highest in (("gt", 4), ("pred", 3)):
        (tmp_path / part).mkdir()
        for case in "abc":
            values = rng.integers(0, highest if case != "c" else 1, (4, 5, 6))
            writer.write_seg(values.astype(np.uint8), tmp_path / part / f"{case}.nii.gz", geometry)
    return tmp_path


def read(file):
    return by_name("SimpleITKIO").read_seg(file)[0].astype(int)


@pytest.mark.reference
@pytest.mark.parametrize(("regions", "ignore"), [([1, 2], None), ([(1, 2), 2], 3)])
def test_the_summary_is_nnunets(folders, regions, ignore):
    from nnunetv2.evaluation.evaluate_predictions import compute_metrics_on_folder
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

    theirs = folders / "theirs.json"
    compute_metrics_on_folder(
        str(folders / "gt"), str(folders / "pred"), str(theirs), SimpleITKIO(), ".nii.gz", regions, ignore, num_processes=1
    )
    ours = summary(
        folders / "gt",
        folders / "pred",
        labels_or_regions=regions,
        file_ending=".nii.gz",
        read=read,
        ignore_label=ignore,
        workers=2,
    )
    write_summary(ours, folders / "ours.json")
    write_summary(read_summary(theirs), folders / "again.json")
    written, reference, again = ((folders / name).read_text() for name in ("ours.json", "theirs.json", "again.json"))
    assert written == again
    # As text: NaN equals NaN.
    assert json.dumps(json.loads(written), sort_keys=True) == json.dumps(json.loads(reference), sort_keys=True)


def test_what_does_not_match_is_named(folders):
    options = {"labels_or_regions": [1], "file_ending": ".nii.gz", "read": read}
    (folders / "pred/b.nii.gz").rename(folders / "pred/z.nii.gz")
    with pytest.raises(BadData) as fault:
        summary(folders / "gt", folders / "pred", **options, require_all=True)
    assert [line.split(":")[0] for line in fault.value.findings] == ["z.nii.gz", "b.nii.gz"]
    with pytest.raises(BadData, match="no file that ends in"):
        summary(folders / "gt", folders, **options)
    (folders / "pred/z.nii.gz").unlink()
    assert len(summary(folders / "gt", folders / "pred", **options)["metric_per_case"]) == 2
    with pytest.raises(BadData) as fault:
        summary(folders / "gt", folders / "pred", **options, cases=["a", "b"])
    assert fault.value.findings == ("b.nii.gz: not predicted",)


def test_shapes_that_differ_are_told(folders):
    shapes = iter([(1, 4, 5, 6), (1, 4, 5, 7)])
    with pytest.raises(BadData, match=r"a\.nii\.gz.*\(1, 4, 5, 7\).*\(1, 4, 5, 6\)"):
        summary(
            folders / "gt",
            folders / "pred",
            labels_or_regions=[1],
            file_ending=".nii.gz",
            read=lambda _: np.zeros(next(shapes), int),
        )


def test_the_command(folders, capsys):
    description = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "liver": 1, "tumour": 2, "ignore": 3},
        "numTraining": 3,
        "file_ending": ".nii.gz",
    }
    (folders / "dataset.json").write_text(json.dumps(description))
    assert cli.main(["evaluate", str(folders / "gt"), str(folders / "pred")]) == 0
    printed = capsys.readouterr().out
    result = read_summary(folders / "pred/summary.json")
    assert f"tumour      Dice {result['mean'][2]['Dice']:.4f}" in printed
    assert "3 cases" in printed
    (folders / "pred/a.nii.gz").unlink()
    assert cli.main(["evaluate", str(folders / "gt"), str(folders / "pred")]) == ExitCode.BAD_DATA
    assert "a.nii.gz: not predicted" in capsys.readouterr().err
    assert cli.main(["evaluate", str(folders / "gt"), str(folders / "pred"), "--partial"]) == 0
    (folders / "dataset.json").unlink()
    assert cli.main(["evaluate", str(folders / "gt"), str(folders / "pred")]) == ExitCode.BAD_USAGE
