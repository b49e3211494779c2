"""``python -m ringme_async`` is the command ``ringme``."""

from __future__ import annotations

import sys

from ringme_async.cli import main

sys.exit(main())
