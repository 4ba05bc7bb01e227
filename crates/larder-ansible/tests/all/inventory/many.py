"""Runs commands of ansible-core one after the other in one process, as most of their time is starting Python.

Reads a JSON list of {"directory", "arguments"} and prints one of {"code", "stdout", "stderr"}.
"""

import importlib
import json
import os
import sys
import tempfile

PROGRAMS = {"ansible": "adhoc", "ansible-inventory": "inventory", "ansible-playbook": "playbook"}


def run(directory, arguments):
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        # Each in a child of its own: Ansible keeps options and files in globals.
        child = os.fork()
        if child == 0:
            code = 250
            try:
                os.chdir(directory)
                os.dup2(out.fileno(), 1)
                os.dup2(err.fileno(), 2)
                sys.argv = arguments
                importlib.import_module("ansible.cli." + PROGRAMS[arguments[0]]).main(arguments)
                code = 0
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else int(end.code is not None)
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        _, status = os.waitpid(child, 0)
        texts = []
        for stream in (out, err):
            stream.seek(0)
            texts.append(stream.read().decode(errors="replace"))
        return {"code": os.waitstatus_to_exitcode(status), "stdout": texts[0], "stderr": texts[1]}


for name in PROGRAMS.values():
    importlib.import_module("ansible.cli." + name)
json.dump([run(job["directory"], job["arguments"]) for job in json.load(sys.stdin)], sys.stdout)
