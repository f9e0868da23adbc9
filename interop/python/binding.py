"""One page over TLS by pyspnego with channel bindings: binding.py kerberos|ntlm none|right|wrong URL CA-FILE.

NTLM's name and password come from the environment (IWA_USER, IWA_PASSWORD), Kerberos' ticket from the credential cache.
Prints one line of JSON: {"status": 200, "complete": true}.
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

protocol, mode, url, authorities = sys.argv[1:]
place = urllib.parse.urlparse(url)
connection = http.client.HTTPSConnection(
    place.hostname, place.port, context=ssl.create_default_context(cafile=authorities))
connection.connect()
certificate = connection.sock.getpeercert(True)
bindings = None
if mode != "none":
    # The certificate of the test is signed with SHA-256.
    seen = hashlib.sha256(certificate if mode == "right" else b"another").digest()
    bindings = spnego.channel_bindings.GssChannelBindings(application_data=b"tls-server-end-point:" + seen)
user, password = os.environ.get("IWA_USER"), os.environ.get("IWA_PASSWORD")
if protocol == "kerberos":
    user = password = None
client = spnego.client(
    user, password, hostname=place.hostname, service="HTTP", protocol=protocol, channel_bindings=bindings)
scheme = "NTLM" if protocol == "ntlm" else "Negotiate"
token, status = client.step(), 0
while token:
    header = scheme + " " + base64.b64encode(token).decode()
    connection.request("GET", place.path, headers={"Authorization": header, "User-Agent": "pyspnego " + protocol})
    answer = connection.getresponse()
    answer.read()
    status = answer.status
    offered = [value for value in answer.headers.get_all("WWW-Authenticate", []) if value.startswith(scheme + " ")]
    if not offered or client.complete:
        break
    token = client.step(base64.b64decode(offered[0][len(scheme) + 1:]))
    if status == 200:
        break
print(json.dumps({"status": status, "complete": client.complete}))
