"""One page by `requests`: get.py ntlm|kerberos|spnego URL. NTLM's name and password come from the environment.

Prints one line of JSON: {"status": 200, "legs": 3, "mutual": true}.
"""

import json
import os
import sys

import requests

how, url = sys.argv[1:]
session = requests.Session()
if how == "ntlm":
    from requests_ntlm import HttpNtlmAuth

    session.auth = HttpNtlmAuth(os.environ["IWA_USER"], os.environ["IWA_PASSWORD"])
    answer = session.get(url)
    print(json.dumps({"status": answer.status_code, "legs": 1 + len(answer.history)}))
elif how == "kerberos":
    from requests_kerberos import REQUIRED, HTTPKerberosAuth

    # REQUIRED: a 200 whose final token does not prove the server is turned into an error by the client.
    session.auth = HTTPKerberosAuth(mutual_authentication=REQUIRED)
    answer = session.get(url)
    print(json.dumps({"status": answer.status_code, "legs": 1 + len(answer.history), "mutual": True}))
elif how == "spnego":
    import base64

    import spnego

    # NTLM inside SPNEGO, which neither curl nor the browsers send without more software.
    client = spnego.client(
        os.environ["IWA_USER"], os.environ["IWA_PASSWORD"], hostname="localhost", service="HTTP",
        options=spnego.NegotiateOptions.use_negotiate, protocol="negotiate",
    )
    token, legs, answer = None, 0, None
    while not client.complete and legs < 5:
        out = client.step(token)
        if out is None:
            break
        answer = session.get(url, headers={"Authorization": "Negotiate " + base64.b64encode(out).decode()})
        legs += 1
        offered = [part.strip() for part in answer.headers.get("WWW-Authenticate", "").split(",")]
        token = next((base64.b64decode(part[10:]) for part in offered if part.startswith("Negotiate ")), None)
        if token is None:
            break
    # The last token of the server carries its mechListMIC: pyspnego verifies it here.
    if token is not None and not client.complete:
        client.step(token)
    print(json.dumps({"status": answer.status_code, "legs": legs, "complete": client.complete,
                      "mechanism": client.negotiated_protocol}))
else:
    sys.exit(f"unknown way: {how}")
