"""Runs programs of Ansible many times in one start.

Reads a JSON list of {"cwd": ..., "argv": [...]} from stdin, with a "program" where it is not ansible-playbook, and writes a JSON list of {"code", "out", "err"} to
stdout. Each run happens in a forked child, so that none sees what another left behind, and loading Ansible is paid
for once.
"""

import json
import os
import sys
import tempfile

os.environ.update(
    ANSIBLE_NOCOLOR="1",
    ANSIBLE_DEPRECATION_WARNINGS="0",
    ANSIBLE_LOCALHOST_WARNING="0",
    ANSIBLE_INVENTORY_UNPARSED_WARNING="0",
    ANSIBLE_HOME=tempfile.mkdtemp(prefix="larder-oracle"),
    PYTHONHASHSEED="0",
)


def run(case):
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                os.dup2(out.fileno(), 1)
                os.dup2(err.fileno(), 2)
                os.chdir(case["cwd"])
                program = case.get("program", "ansible-playbook")
                sys.argv = [program, *case["argv"]]
                code = PROGRAMS[program](sys.argv) or 0
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else 1
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        _, status = os.waitpid(child, 0)
        out.seek(0)
        err.seek(0)
        texts = [stream.read().decode("utf-8", "replace") for stream in (out, err)]
        return {"code": os.waitstatus_to_exitcode(status), "out": texts[0], "err": texts[1]}


cases = json.load(sys.stdin)
# What every run imports, imported once before the forks.
import ansible.executor.playbook_executor  # noqa: E402,F401
import ansible.plugins.loader  # noqa: E402,F401
import ansible.utils.display  # noqa: E402,F401
from ansible._internal._templating import _engine  # noqa: E402,F401
from ansible.cli import adhoc, inventory, playbook  # noqa: E402

PROGRAMS = {"ansible": adhoc.main, "ansible-inventory": inventory.main, "ansible-playbook": playbook.main}

json.dump([run(case) for case in cases], sys.stdout)
