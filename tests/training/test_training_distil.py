"""Distillation: the student comes to say what its teacher says; the teacher stays as it was."""

from __future__ import annotations

import pytest
import torch

from mmbook import evaluate
from mmbook.models import VLM, TableLM, load_pretrained_model
from mmbook.models.compress import student
from mmbook.training.distil import distil
from mmbook.world.caption_tree import CaptionTree


@pytest.fixture(scope="module")
def teacher() -> VLM:
    return load_pretrained_model("tiny", device="cpu")


def test_a_student_moves_to_its_teacher_and_only_its_layers_learn(teacher: VLM) -> None:
    small, before = student(teacher, (0, 2)), teacher.hash
    cut = evaluate.sequence_kl(teacher, small, scenes=64)
    tower = [p.clone() for n, p in small.module.named_parameters() if "vision" in n]
    taught = distil(teacher, small, steps=12, batch=24, progress=False)
    assert taught is small and teacher.hash == before
    assert evaluate.sequence_kl(teacher, taught, scenes=64) < 0.35 * cut
    assert taught.history[-1]["kl"] < 0.5 * taught.history[0]["kl"] and len(taught.history) == 12
    after = [p for n, p in taught.module.named_parameters() if "vision" in n]
    assert all(torch.equal(a, b) for a, b in zip(tower, after, strict=True))
    assert not any(p.requires_grad for p in taught.module.parameters())


def test_a_perfect_student_has_nothing_to_learn(teacher: VLM) -> None:
    """The control: where teacher and student agree the loss is zero, and so is what is learned."""
    twin = distil(teacher, teacher.copy(), steps=2, batch=8, progress=False)
    assert [row["kl"] for row in twin.history] == pytest.approx([0, 0], abs=1e-5)


def test_another_vocabulary_is_refused(teacher: VLM) -> None:
    with pytest.raises(ValueError, match="student: expected one with its teacher's vocabulary"):
        distil(teacher, TableLM(CaptionTree()), steps=1, progress=False)
