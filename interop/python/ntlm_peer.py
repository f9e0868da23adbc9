"""pyspnego at the other end of NTLM handshakes, both as client and as server.

    ntlm_peer.py PATH-OF-THE-EXAMPLE-ntlm_peer [DIRECTORY-FOR-RECORDINGS]

Every handshake runs over pipes. The exit status is the number of handshakes that did not end as they should.
"""

import os
import socket
import subprocess
import sys
import tempfile

# The recordings must not hold the name of the machine on which they were made.
os.environ["NETBIOS_COMPUTER_NAME"] = "CLIENT"
socket.gethostname = lambda: "server"

import spnego
from spnego.channel_bindings import GssChannelBindings

PEER = sys.argv[1]
RECORDINGS = sys.argv[2] if len(sys.argv) > 2 else None
RIGHT = GssChannelBindings(application_data=b"tls-server-end-point:" + b"\x01" * 32)
WRONG = GssChannelBindings(application_data=b"tls-server-end-point:" + b"\x02" * 32)
failures = 0


def start(role, form, channel, recording, what):
    path = [os.path.join(RECORDINGS, f"ntlm-{recording}.txt")] if recording and RECORDINGS else []
    return subprocess.Popen(
        [PEER, role, form, channel, *path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=dict(os.environ, WHAT=what),
    )


def send(peer, token):
    peer.stdin.write((token.hex() if token else "") + "\n")
    peer.stdin.flush()


def settings(form, bindings):
    negotiate = form == "Negotiate"
    options = spnego.NegotiateOptions
    return dict(
        service="HTTP",
        protocol="negotiate" if negotiate else "ntlm",
        options=options.use_negotiate if negotiate else options.use_ntlm,
        channel_bindings=bindings,
    )


def verdict(name, found, wanted):
    global failures
    good = found.startswith(wanted)
    failures += not good
    print(f"{'ok ' if good else 'BAD'} {name}: {found}")


def client(name, form, wanted, user="EXAMPLE\\alice", password="Password", host="web.example.test",
           channel="plain", bindings=None, integrity=True, recording=None, what=""):
    """pyspnego is the client."""
    peer = start("accept", form, channel, recording, what)
    request = spnego.ContextReq.default if integrity else spnego.ContextReq.none
    context = spnego.client(user, password, hostname=host, context_req=request, **settings(form, bindings))
    token = context.step()
    while True:
        send(peer, token)
        line = peer.stdout.readline().strip()
        if not line.startswith(("ok", "refused")):
            try:
                token = context.step(bytes.fromhex(line))
            except spnego.exceptions.SpnegoError:
                token = None
            if token is not None:
                continue
            line = peer.stdout.readline().strip()
        break
    peer.stdin.close()
    peer.wait()
    if line.startswith("ok") and not context.complete:
        line = "the client does not agree"
    verdict(f"client {form} {name}", line, wanted)


def server(name, form, wanted, password="Password", channel="plain", bindings=None, recording=None, what=""):
    """pyspnego is the server."""
    with tempfile.NamedTemporaryFile("w", suffix=".accounts") as accounts:
        accounts.write(f"EXAMPLE:alice:{password}\n")
        accounts.flush()
        os.environ["NTLM_USER_FILE"] = accounts.name
        peer = start("initiate", form, channel, recording, what)
        context = spnego.server(hostname="web.example.test", **settings(form, bindings))
        try:
            while True:
                line = peer.stdout.readline().strip()
                if line.startswith(("ok", "refused")) or not line:
                    break
                send(peer, context.step(bytes.fromhex(line)))
            found = f"{line} as {context.client_principal}" if context.complete else f"{line}, not complete"
        except spnego.exceptions.SpnegoError as error:
            found = f"server refused: {type(error).__name__}"
        peer.stdin.close()
        peer.wait()
    verdict(f"server {form} {name}", found, wanted)


for form in ("NTLM", "raw", "Negotiate"):
    short = form.lower()
    first = form != "raw"
    way = {"NTLM": "the NTLM scheme", "raw": "raw NTLM under Negotiate", "Negotiate": "SPNEGO with mechListMIC"}[form]
    version = f"pyspnego {'.'.join(__import__('importlib.metadata').metadata.version('pyspnego').split('.')[:2])}"
    client("right password", form, "ok", recording=f"pyspnego-{short}", what=f"{version} as client, {way}")
    client("wrong password", form, "refused: logon", password="wrong",
           recording=first and f"pyspnego-{short}-wrong-password", what=f"{version} as client, {way}, wrong password")
    client("no domain", form, "ok", user="alice")
    client("unknown user", form, "refused: logon", user="EXAMPLE\\bob")
    client("bound", form, "ok", channel="01" * 32, bindings=RIGHT,
           recording=first and f"pyspnego-{short}-bound", what=f"{version} as client, {way}, bound to the channel")
    client("not bound", form, "refused: binding.missing", channel="01" * 32)
    client("bound to another channel", form, "refused: binding.mismatch", channel="01" * 32, bindings=WRONG)
    client("meant for another host", form, "refused: ntlm.target-name", host="other.example.test")
    client("nothing to sign", form, "ok", integrity=False, recording=first and f"pyspnego-{short}-no-integrity",
           what=f"{version} as client, {way}, nothing to sign: its session key field means nothing")
    server("right password", form, "ok by NTLM as EXAMPLE\\alice",
           recording=f"pyspnego-server-{short}", what=f"{version} as server, {way}")
    server("wrong password", form, "server refused", password="wrong")
    server("bound", form, "ok by NTLM", channel="01" * 32, bindings=RIGHT)
    server("bound to another channel", form, "server refused", channel="01" * 32, bindings=WRONG)

print(f"{failures} did not end as they should")
sys.exit(failures)
