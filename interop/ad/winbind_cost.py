#!/usr/bin/python3
"""What NTLM logons cost through winbind: winbind_cost.py COUNT IN-FLIGHT, on a member with winbindd, as root.

IN-FLIGHT helpers (`ntlm_auth --helper-protocol=ntlm-server-1`, what Squid's and FreeRADIUS's users run) ask for alice's logon
again and again. CPU is that of every process in this network namespace but this one: the helpers and winbindd.
"""
import os
import subprocess
import sys
import threading
import time

from samba.credentials import CLI_CRED_NTLMv2_AUTH, Credentials

count, in_flight = int(sys.argv[1]), int(sys.argv[2])
challenge = bytes(range(8))
credentials = Credentials()
credentials.set_username("alice")
credentials.set_domain("CORP")
credentials.set_password("Alice-Pw1")
# An MsvAvNbDomainName, and the end of the list.
name = "CORP".encode("utf-16-le")
target = b"\x02\0" + len(name).to_bytes(2, "little") + name + b"\0\0\0\0"
response = credentials.get_ntlm_response(flags=CLI_CRED_NTLMv2_AUTH, challenge=challenge, target_info=target)["nt_response"]
request = (
    f"LANMAN-Challenge: {challenge.hex()}\nNT-Response: {response.hex()}\nNT-Domain: CORP\nUsername: alice\n"
    "Request-User-Session-Key: Yes\n.\n"
)


def cpu():
    mine, total = os.readlink("/proc/self/ns/net"), 0
    for process in filter(str.isdigit, os.listdir("/proc")):
        try:
            if process == str(os.getpid()) or os.readlink(f"/proc/{process}/ns/net") != mine:
                continue
            for task in os.listdir(f"/proc/{process}/task"):
                with open(f"/proc/{process}/task/{task}/schedstat", encoding="ascii") as file:
                    total += int(file.read().split()[0])
        except OSError:
            pass
    return total / 1e9


def ask(helper, times):
    for _ in range(times):
        helper.stdin.write(request)
        helper.stdin.flush()
        lines = []
        while not lines or lines[-1] != ".\n":
            lines.append(helper.stdout.readline())
            if not lines[-1]:
                raise RuntimeError("ntlm_auth ended")
        if "Authenticated: Yes\n" not in lines:
            raise RuntimeError("".join(lines))


def all_ask(times):
    failed = []
    threading.excepthook = failed.append
    threads = [threading.Thread(target=ask, args=(helper, times // in_flight)) for helper in helpers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        sys.exit(str(failed[0].exc_value))


helpers = [
    subprocess.Popen(["ntlm_auth", "--helper-protocol=ntlm-server-1"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    for _ in range(in_flight)
]
all_ask(4 * in_flight)
begun, before = time.monotonic(), cpu()
all_ask(count)
elapsed, spent = time.monotonic() - begun, cpu() - before
print(f"{count} logons, {in_flight} in flight: {count / elapsed:.0f} logons/s, {1e6 * spent / count:.1f} us CPU of winbind per logon")
for helper in helpers:
    helper.stdin.close()
    helper.wait()
