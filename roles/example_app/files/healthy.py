"""Ask the application behind `host:port` or `unix:/path` whether it is well: exit status 0 if it answers 200."""

import http.client
import socket
import sys

where = sys.argv[1]
client = http.client.HTTPConnection("localhost", timeout=3)
if where.startswith("unix:"):
    client.sock = socket.socket(socket.AF_UNIX)
    client.sock.settimeout(3)
    client.sock.connect(where.removeprefix("unix:"))
else:
    address, _, port = where.rpartition(":")
    client.sock = socket.create_connection((address.strip("[]"), int(port)), timeout=3)
client.request("GET", "/healthz")
sys.exit(client.getresponse().status != 200)
