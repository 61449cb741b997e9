"""The documented read endpoints of a running server, as a person with an HTTP client would use them."""

from collections.abc import Mapping
from typing import Any

import httpx

# The most that a page of root runs may hold.
PAGE = 1000


class Store:
    """Reads from the server at `url`; a method raises httpx.HTTPStatusError for any answer but a 2xx."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=30, trust_env=False)

    def run(self, run_id: str, user_agent: str | None = None) -> dict[str, Any]:
        headers = {"user-agent": user_agent} if user_agent else {}
        return self._get(f"/api/v1/runs/{run_id}", headers=headers)

    def feedback(self, run_id: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._answer("/api/v1/feedback", {"run": run_id, "limit": "100"})
        return found

    def roots(self, project: str, **filters: str) -> dict[str, Any]:
        return self._get("/api/v1/dashboard/runs/roots", {"project": project, "limit": str(PAGE), **filters})

    def hierarchy(self, run_id: str) -> dict[str, Any]:
        return self._get(f"/api/v1/dashboard/runs/{run_id}/hierarchy")

    def stats(self) -> dict[str, Any]:
        return self._get("/api/v1/dashboard/stats/summary")

    def download(self, url: str) -> httpx.Response:
        """What lies at a signed URL, fetched as the SDKs do it: without a key."""
        response = self._http.get(url)
        response.raise_for_status()
        return response

    def close(self) -> None:
        self._http.close()

    def _get(
        self, path: str, parameters: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        found: dict[str, Any] = self._answer(path, parameters, headers)
        return found

    def _answer(
        self, path: str, parameters: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> Any:
        response = self._http.get(path, params=parameters, headers=headers)
        response.raise_for_status()
        return response.json()
