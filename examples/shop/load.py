"""Customers: real HTTP requests over the loopback interface, as fast as the answers come."""

from __future__ import annotations

import asyncio
import random
import threading
import time
import uuid
from collections import Counter

import httpx

ROWS = 3000
"""Rows of one catalogue import."""


class Load:
    """Keeps *customers* of them busy until :meth:`stop`, in a thread with an event loop of its own.

    Attributes:
        answers: Requests answered, by (method and route, status).
        failed_payments: The ids of the requests that were answered with "payment failed".
        refused: Requests that got no answer at all.
        events: How many log events the answers must have caused: the access event of each, one of
            the shop's for each, and some more where the shop has more to say.
    """

    def __init__(self, base_url: str, *, customers: int = 12, seed: int = 7) -> None:
        self.answers: Counter[tuple[str, int]] = Counter()
        self.failed_payments: set[str] = set()
        self.refused = 0
        self.events = 0
        self.seconds = 0.0
        self._base_url = base_url
        self._customers = customers
        self._random = random.Random(seed)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="load")

    @property
    def requests(self) -> int:
        """How many requests were answered so far."""
        return sum(self.answers.values())

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Let every customer finish the request it waits for."""
        self._stopping.set()
        self._thread.join()

    async def _run(self) -> None:
        started = time.monotonic()
        limits = httpx.Limits(max_connections=self._customers + 1)
        async with httpx.AsyncClient(base_url=self._base_url, limits=limits, timeout=30) as client:
            customers = [self._shop(client) for _ in range(self._customers)]
            await asyncio.gather(*customers, self._import_catalogues(client))
        self.seconds = time.monotonic() - started

    async def _shop(self, client: httpx.AsyncClient) -> None:
        while not self._stopping.is_set():
            await self._ask(client, "GET", "/products", params={"page": self._random.randint(1, 5)})
            item = {
                "product_id": self._random.randint(1, 52),  # two of them do not exist
                "quantity": self._random.randint(1, 4),
            }
            answer = await self._ask(client, "POST", "/orders", json=item)
            if answer is not None and answer.status_code == 201:
                number = answer.json()["order_id"]
                await self._ask(client, "POST", f"/checkout/{number}", route="/checkout")
                self.events += item["quantity"] > 3  # "unusual quantity"

    async def _import_catalogues(self, client: httpx.AsyncClient) -> None:
        while not self._stopping.is_set():
            await self._ask(client, "POST", "/imports", params={"rows": ROWS})
            self.events += ROWS
            for _ in range(20):  # a second and a half, unless the shop closes
                if not self._stopping.is_set():
                    await asyncio.sleep(0.075)

    async def _ask(
        self, client: httpx.AsyncClient, method: str, path: str, *, route: str = "", **options
    ) -> httpx.Response | None:
        request_id = uuid.uuid4().hex
        try:
            answer = await client.request(
                method, path, headers={"x-request-id": request_id}, **options
            )
        except httpx.TransportError:
            self.refused += 1
            return None
        self.answers[f"{method} {route or path}", answer.status_code] += 1
        self.events += 2
        if answer.status_code == 502:
            self.failed_payments.add(request_id)
        return answer
