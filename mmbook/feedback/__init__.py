"""Feedback from people and from simulated readers: records, their log, and the labeller."""

from mmbook.feedback.annotators import Changing, SimulatedAnnotator
from mmbook.feedback.collect import collect_human_feedback
from mmbook.feedback.dataset import Feedback, Judgement
from mmbook.feedback.hub import hub_feedback
from mmbook.feedback.importing import from_rows, read_labels
from mmbook.feedback.items import shown_first
from mmbook.feedback.log import read_log
from mmbook.feedback.records import OUTCOMES, make_record, validate
from mmbook.feedback.taste import disagreements, taste_card

__all__ = [
    "OUTCOMES",
    "Changing",
    "Feedback",
    "Judgement",
    "SimulatedAnnotator",
    "collect_human_feedback",
    "disagreements",
    "from_rows",
    "hub_feedback",
    "make_record",
    "read_labels",
    "read_log",
    "shown_first",
    "taste_card",
    "validate",
]
