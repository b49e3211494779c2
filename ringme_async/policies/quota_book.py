"""The quotas of all credentials, bounded: what is idle is forgotten first."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Hashable
from itertools import islice
from operator import itemgetter
from typing import Final
from weakref import WeakValueDictionary

from attrs import define, field

from ringme_async.policies.quota import Quota

__all__ = ["QuotaBook"]
# To make room for one quota costs nearly as much as for some, so a full book forgets a thousandth at once;
# for each that goes, so many are looked at.
_ROUNDS: Final = 1_000
_CHOICE: Final = 3


@define(eq=False)
class QuotaBook:
    """The quotas of all credentials, a bounded number of them.

    When it is full, some of those asked for longest ago go: those that tell nothing (unlimited,
    or their window has turned) before those with requests left, and the used-up ones last. What is in
    use stays, and as long as anybody holds a quota, its key leads to that very one.

    Args:
        capacity: How many are kept. A full book forgets a thousandth of them at once. Default
            100,000.
    """

    _capacity: int = field(default=100_000, alias="capacity")
    _quotas: OrderedDict[Hashable, Quota] = field(
        factory=OrderedDict[Hashable, Quota], init=False, repr=False
    )
    # Those that were kept once, and are still held by somebody.
    _evicted: WeakValueDictionary[Hashable, Quota] = field(
        factory=WeakValueDictionary[Hashable, Quota], init=False, repr=False
    )

    # Looked at first: most programs have one credential.
    _latest: tuple[Hashable, Quota | None] = field(default=(None, None), init=False, repr=False)

    def __len__(self) -> int:
        return len(self._quotas)

    def of(self, key: Hashable) -> Quota:
        """Give the quota of a credential."""
        latest_key, quota = self._latest
        if quota is None or key is not latest_key:
            quota = self._find(key)
            self._latest = key, quota
        return quota

    def _find(self, key: Hashable) -> Quota:
        quota = self._quotas.get(key)
        if quota is not None:
            self._quotas.move_to_end(key)
            return quota
        quota = self._evicted.get(key)
        if quota is None:
            quota = Quota()
        self._quotas[key] = quota
        while len(self._quotas) > self._capacity and self._make_room():
            pass
        return quota

    def _make_room(self) -> bool:
        """Forget some of those asked for longest ago; False if all of these are in use."""
        some = max(1, self._capacity // _ROUNDS)
        oldest = list(islice(self._quotas.items(), min(len(self._quotas) - 1, _CHOICE * some)))
        now = asyncio.get_running_loop().time()
        idle = [(quota.cost_of_forgetting(now), key) for key, quota in oldest if not quota.in_use]
        idle.sort(key=itemgetter(0))
        for _, key in idle[:some]:
            self._evicted[key] = self._quotas.pop(key)
        for key, quota in oldest:
            if quota.in_use:
                # It is not what is to go, nor what is to be looked at first the next time.
                self._quotas.move_to_end(key)
        return bool(idle)
