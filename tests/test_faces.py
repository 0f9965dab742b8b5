"""Labelled faces: drawn, written, read as written, and compared with the judge of form."""

import csv

import numpy as np
import pytest
import torch

from spf.errors import BadInput
from spf.evaluation.faces import COLUMNS, LABELS, agreement, read_faces, write_faces
from spf.evaluation.form import Form


def label(folder, values):
    with open(folder / LABELS, "w", newline="") as file:
        csv.writer(file).writerows([("number", "well"), *enumerate(values, start=1)])


@pytest.fixture
def folder(tmp_path):
    shades = np.linspace(0, 240, COLUMNS + 2).astype(np.uint8)
    write_faces(np.broadcast_to(shades[:, None, None, None], (len(shades), 16, 16, 3)), tmp_path)
    return tmp_path


def test_pictures_come_back_in_order(folder):
    label(folder, [1, 0] * (COLUMNS // 2 + 1))
    images, labels = read_faces(folder)
    assert images.shape == (COLUMNS + 2, 16, 16, 3)
    assert labels.tolist() == [True, False] * (COLUMNS // 2 + 1)
    shades = images.mean((1, 2, 3))
    assert np.allclose(shades, np.linspace(0, 240, COLUMNS + 2).astype(int), atol=2)


@pytest.mark.parametrize("values", [["", 0], [1, "yes"], [2]])
def test_labels_are_zero_or_one(folder, values):
    label(folder, values)
    with pytest.raises(BadInput, match="must be . and a label, 0 or 1"):
        read_faces(folder)


def test_a_number_left_out_is_told(folder):
    (folder / LABELS).write_text("number,well\n1,1\n3,0\n")
    with pytest.raises(BadInput, match="line 3 .* must be 2"):
        read_faces(folder)


def test_agreement_by_hand():
    class Said:
        def read(self, images):
            return Form(torch.tensor([0.9, 0.6, 0.4, 0.7, 0.1]), torch.zeros(5, 1, 2))

    found = agreement(Said(), np.zeros((5, 8, 8, 3), np.uint8), [True, True, True, False, False])
    assert found["agree"] == pytest.approx(3 / 5)
    assert found["well"] == pytest.approx(2 / 3) and found["broken"] == 0.5
    assert found["area"] == pytest.approx(4 / 6)
