"""The embedded model: a small real model on this machine, behind an Anthropic- and an OpenAI-compatible endpoint."""
