"""What clients speak to: the HTTP interfaces of OpenAI and of Ollama, over the port `Gate`."""
