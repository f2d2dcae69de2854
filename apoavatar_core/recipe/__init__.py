"""The whole tiny preset in one command that can stop and go on: its stages, their budgets, and a page about them."""
