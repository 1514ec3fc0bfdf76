"""The guarded fetcher: how agents read pages of the public network."""

from colony.fetch.fetcher import FetchedPage, GuardedFetcher, open_fetcher

__all__ = ["FetchedPage", "GuardedFetcher", "open_fetcher"]
