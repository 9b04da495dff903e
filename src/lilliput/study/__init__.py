"""A policy or many, through every recipe and measure: cells, their records, and what runs them."""
