# Needs python3 (3.11 or newer) and make; everything else comes from the lock file.
# `make` alone lists what there is to make.

PYTHON ?= python3
BIN := .venv/bin
COLONY := $(BIN)/python -m control

.PHONY: help venv demo demo-content demo-monitor demo-website up down servers check test bench

help:
	@echo "make demo      from nothing to a report: installs, starts, deploys 620 agents, analyses reviews"
	@echo "make demo-website   a brief becomes a site, built, checked and mended by agents"
	@echo "make demo-content   twelve posts from a small corpus, each claim cited and checked"
	@echo "make demo-monitor   watches sites that fail on a schedule: alerts, recovery, a webhook, a report"
	@echo "make up        start the stack            make down   stop it"
	@echo "make servers   build temporal-server, its web UI and consul into the cache (SERVERS=ollama adds Ollama)"
	@echo "make check     linters, types, layers     make test   everything, against real servers (and Ollama)"
	@echo "make bench     measure the running stack (NAME=durable_tasks)"

venv:
	@$(PYTHON) bootstrap.py

demo: venv
	@$(COLONY) demo

demo-content: venv
	@$(COLONY) demo-content

demo-website: venv
	@$(COLONY) demo-website

demo-monitor: venv
	@$(COLONY) demo-monitor

up: venv
	@$(COLONY) up

down: venv
	@$(COLONY) down

servers: venv
	@$(BIN)/python -m control.servers_build $(SERVERS)

check: venv
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/pyright
	@$(BIN)/lint-imports

# Ollama needs a C++ compiler; `make test SERVERS=` leaves it and its tests out.
test: SERVERS = ollama
test: venv servers
	@$(BIN)/pytest

bench: venv
	@$(COLONY) bench $(or $(NAME),durable_tasks)
