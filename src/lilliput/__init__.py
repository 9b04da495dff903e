"""Lilliput makes trained reinforcement-learning policies tiny and proves that they still do their job."""
