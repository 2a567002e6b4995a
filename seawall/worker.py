"""Runs on the host, as root, for as long as one verification lasts: commands in, answers out.

Each line to it is a JSON array: ``[number, command, seconds it may take]``; it was itself sent before the first one.
An answer is ``[number, exit status, stdout, stderr]``, in whatever order commands end; the exit status is null where
one took longer than its time. The program leaves nothing behind and ends when the connection does. Needs only
Python ≥ 3.8, which Ansible needs too.
"""

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

AT_ONCE = 4
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}

one_line = Lock()


def answer(number, command, seconds):
    process = subprocess.Popen(
        ["/bin/sh", "-c", command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
        cwd="/",
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=seconds)
        status = process.returncode
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        status = None
    texts = [stream.decode("utf-8", "surrogateescape") for stream in (out, err)]
    with one_line:
        print(json.dumps([number, status, *texts]), flush=True)


with ThreadPoolExecutor(AT_ONCE) as pool:
    for line in sys.stdin:
        pool.submit(answer, *json.loads(line))
