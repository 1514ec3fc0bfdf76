"""The LLM gateway: one front for every model, for agents and for anybody's client."""
