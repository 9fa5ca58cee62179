"""Send tasks as a web app does, while a request is being answered.

python send.py [request id]
"""

import sys
import uuid

import shop
from structlog.contextvars import bound_contextvars


def main() -> None:
    request_id = sys.argv[1] if len(sys.argv) > 1 else uuid.uuid4().hex
    with bound_contextvars(request_id=request_id):  # in a web app RequestMiddleware has done that
        shop.log.info("order placed", order_id=7)
        shop.fulfil(7)
        shop.charge.delay(7)


if __name__ == "__main__":
    main()
