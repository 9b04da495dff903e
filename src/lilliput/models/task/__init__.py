"""What models are judged on: one module a task (`perplexity`, `choices`, ...), rows in `table`."""
