"""One page by pyspnego: negotiate.py URL kerberos|ntlm|negotiate [none|right|wrong [CERTIFICATES.pem]].

The last says which channel binding the client sends: none, that of the server's certificate, or that of another. Name and
password come from IWA_USER and IWA_PASSWORD; without them Kerberos takes the ticket of KRB5CCNAME.
Prints one line of JSON: {"status": 200, "complete": true, "legs": 1, "mechanism": "kerberos", "text": "..."}.
"""
import base64
import hashlib
import http.client
import json
import os
import ssl
import sys
import urllib.parse

import spnego
import spnego.channel_bindings

url, protocol, binding, authorities = (sys.argv[1:] + ["none", None][len(sys.argv) - 3 :])[:4]
place = urllib.parse.urlsplit(url)
bindings = None
if place.scheme == "https":
    context = ssl.create_default_context(cafile=authorities)
    connection = http.client.HTTPSConnection(place.hostname, place.port, context=context)
    connection.connect()
    certificate = connection.sock.getpeercert(binary_form=True)
else:
    connection = http.client.HTTPConnection(place.hostname, place.port)
    certificate = b""
if binding != "none":
    shown = certificate if binding == "right" else b"another certificate"
    bindings = spnego.channel_bindings.GssChannelBindings(
        application_data=b"tls-server-end-point:" + hashlib.sha256(shown).digest()
    )
password = os.environ.get("IWA_PASSWORD")
scheme = "NTLM" if protocol == "ntlm" else "Negotiate"
client = spnego.client(
    os.environ.get("IWA_USER"), password, hostname=place.hostname, service="HTTP",
    protocol=protocol, channel_bindings=bindings,
    options=spnego.NegotiateOptions.use_ntlm if password and protocol == "negotiate" else spnego.NegotiateOptions.none,
)
token, legs, answer, text = None, 0, None, ""
while not client.complete and legs < 5:
    out = client.step(token)
    if out is None:
        break
    connection.request("GET", place.path, headers={"Authorization": f"{scheme} {base64.b64encode(out).decode()}"})
    answer = connection.getresponse()
    text = answer.read().decode()
    legs += 1
    offered = answer.headers.get_all("WWW-Authenticate") or []
    token = next((base64.b64decode(one[len(scheme) + 1 :]) for one in offered if one.startswith(scheme + " ")), None)
    if token is None:
        break
# The server's last token proves it: pyspnego verifies it here.
if token is not None and not client.complete and answer.status == 200:
    client.step(token)
print(json.dumps({"status": answer.status, "complete": client.complete, "legs": legs,
                  "mechanism": client.negotiated_protocol or protocol, "text": text}))
