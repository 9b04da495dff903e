"""The wing of policies: what a trained policy is, and all that is done to one."""
