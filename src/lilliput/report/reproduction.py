"""The papers whose tables and claims a report holds its own numbers beside: those of the paper that a study reproduces.

A study file says which (`reproduces = "lu2024"`). Any other study gets none of them: what it found answers its own
questions.
"""

PAPERS: dict[str, str] = {
    "lu2024": "arXiv 2407.04803",
    "williams2024": "arXiv 2311.09755",
    "saxena2024": "arXiv 2407.15904",
}
"""By the name that a study file has for it."""
