"""On a child's path: has kombu's broker of files write each message whole.

It opens a file under the message's name and fills it then; a worker that looks in between finds a
message that is no JSON, and ends.  A broker that needs no server is all that the tests want of it.
"""

from __future__ import annotations

import json
import time
import uuid
from pathlib import Path

from kombu.transport import filesystem


def _put(self, queue, payload, **_):
    folder = Path(self.data_folder_out)
    name = uuid.uuid4()
    draft = folder / f"{name}.draft"  # no reader looks at that
    draft.write_text(json.dumps(payload))
    draft.rename(folder / f"{round(time.monotonic() * 1000)}_{name}.{queue}.msg")


filesystem.Channel._put = _put
