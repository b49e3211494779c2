"""The quotas of all credentials, bounded: a cache that evicts idle quotas."""

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
# Evicting one quota costs nearly as much as evicting many: a full book evicts a thousandth at once,
# and chooses among three candidates for each.
_EVICTED_FRACTION: Final = 1_000
_CANDIDATES_EACH: Final = 3


@define(eq=False)
class QuotaBook:
    """The quotas of all credentials, up to a capacity.

    A full book evicts some of the least recently used quotas: first quotas that know nothing
    (unlimited, or past their reset), then quotas with requests left, used-up quotas last. A quota
    in use is never evicted. While anything holds a quota, its key leads to the same object.

    Args:
        capacity: The most quotas to keep; default 100,000.
    """

    _capacity: int = field(default=100_000, alias="capacity")
    _quotas: OrderedDict[Hashable, Quota] = field(
        factory=OrderedDict[Hashable, Quota], init=False, repr=False
    )
    # Evicted quotas that are still referenced elsewhere.
    _evicted: WeakValueDictionary[Hashable, Quota] = field(
        factory=WeakValueDictionary[Hashable, Quota], init=False, repr=False
    )

    # A one-entry cache: most programs have one credential.
    _latest: tuple[Hashable, Quota | None] = field(default=(None, None), init=False, repr=False)

    def __len__(self) -> int:
        return len(self._quotas)

    def of(self, key: Hashable) -> Quota:
        """Return the quota of a credential."""
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
        while len(self._quotas) > self._capacity and self._evict_some():
            pass
        return quota

    def _evict_some(self) -> bool:
        """Evict some of the least recently used quotas; False if all candidates are in use."""
        count = max(1, self._capacity // _EVICTED_FRACTION)
        oldest = list(
            islice(self._quotas.items(), min(len(self._quotas) - 1, _CANDIDATES_EACH * count))
        )
        now = asyncio.get_running_loop().time()
        idle = [(quota.cost_of_forgetting(now), key) for key, quota in oldest if not quota.in_use]
        idle.sort(key=itemgetter(0))
        for _, key in idle[:count]:
            self._evicted[key] = self._quotas.pop(key)
        for key, quota in oldest:
            if quota.in_use:
                # Move quotas in use to the end: otherwise the next eviction looks at them again.
                self._quotas.move_to_end(key)
        return bool(idle)
