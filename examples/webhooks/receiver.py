"""Receives webhooks of po-api at http://127.0.0.1:9000/: WEBHOOK_SECRET=whsec_… python receiver.py [port]"""

import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks import Webhook, WebhookVerificationError  # pip install standardwebhooks

RECEIVED: set[str] = set()  # in real life a table, written together with what follows from the message


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        try:
            message = Webhook(os.environ["WEBHOOK_SECRET"]).verify(body, dict(self.headers))
        except WebhookVerificationError:
            return self.answer(401)
        if self.headers["webhook-id"] not in RECEIVED:
            print(message["type"], message["data"], flush=True)
            RECEIVED.add(self.headers["webhook-id"])
        return self.answer(204)

    def answer(self, status: int) -> None:
        self.send_response(status)
        self.end_headers()


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 9000), Receiver).serve_forever()
