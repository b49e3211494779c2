"""Many jobs at once: bounded, fair, within their quotas, and with one outcome for every element.

This package runs jobs. It knows neither HTTP nor what the jobs do.
"""

from ringme_async.bulk.adaptive_limit import CapacityLimit
from ringme_async.bulk.job import Job, NotBefore
from ringme_async.bulk.outcome import Done, Failed, NotAttempted, Outcome
from ringme_async.bulk.progress import Progress
from ringme_async.bulk.report import BulkReport, BulkSummary
from ringme_async.bulk.run import BulkRun, Concurrency

__all__ = [
    "BulkReport",
    "BulkRun",
    "BulkSummary",
    "CapacityLimit",
    "Concurrency",
    "Done",
    "Failed",
    "Job",
    "NotAttempted",
    "NotBefore",
    "Outcome",
    "Progress",
]
