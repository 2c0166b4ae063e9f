"""From chapters to a book: Sphinx extension, notebook export, status page, numbers from runs."""

from mmbook.publishing.numbers import Number, NumberError, check_cost, check_number, committed, committed_rows

__all__ = ["Number", "NumberError", "check_cost", "check_number", "committed", "committed_rows"]
