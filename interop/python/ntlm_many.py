"""Many NTLM logons by pyspnego, a connection each: ntlm_many.py http://host:port < lines of ID<TAB>USER<TAB>PASSWORD.

Fetches /n/ID. Prints ID<TAB>STATUS in the order of the lines; four are under way at a time. USER may be DOMAIN\\name or name@domain.
"""
import base64
import concurrent.futures
import http.client
import sys
import urllib.parse

import spnego

place = urllib.parse.urlsplit(sys.argv[1])


def logon(line):
    number, user, password = line.rstrip("\n").split("\t")
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=60)
    client = spnego.client(user, password, hostname=place.hostname, service="HTTP", protocol="ntlm")
    token, answer = None, None
    while not client.complete:
        token = client.step(token)
        connection.request("GET", f"/n/{number}", headers={"Authorization": "NTLM " + base64.b64encode(token).decode()})
        answer = connection.getresponse()
        answer.read()
        offered = answer.headers.get_all("WWW-Authenticate") or []
        token = next((base64.b64decode(one[5:]) for one in offered if one.startswith("NTLM ")), None)
        if token is None:
            break
    connection.close()
    return f"{number}\t{answer.status}"


with concurrent.futures.ThreadPoolExecutor(4) as pool:
    print("\n".join(pool.map(logon, sys.stdin)))
