"""One page by impacket: impacket_get.py URL kerberos|ntlm. Name and password come from IWA_USER (DOMAIN\\name) and IWA_PASSWORD.

Kerberos takes the ticket for HTTP/host from KRB5CCNAME, and builds the AP-REQ here, because impacket has no HTTP. It cannot ask
Samba's KDC itself: its TGS-REQ has no checksum in the authenticator (KRB_AP_ERR_INAPP_CKSUM).
Prints one line of JSON: {"status": 200, "text": "..."}.
"""
import base64
import datetime
import http.client
import json
import os
import struct
import sys
import urllib.parse

url, how = sys.argv[1:]
place = urllib.parse.urlsplit(url)
connection = http.client.HTTPConnection(place.hostname, place.port)


def get(header):
    connection.request("GET", place.path, headers={"Authorization": header})
    answer = connection.getresponse()
    return answer, answer.read().decode()


if how == "kerberos":
    from impacket.krb5 import constants
    from impacket.krb5.asn1 import AP_REQ, TGS_REP, Authenticator, seq_set
    from impacket.krb5.ccache import CCache
    from impacket.krb5.types import KerberosTime, Principal, Ticket
    from impacket.spnego import SPNEGO_NegTokenInit, TypesMech
    from pyasn1.codec.der import decoder, encoder
    from pyasn1.type.univ import noValue

    cache = CCache.loadFile(os.environ["KRB5CCNAME"].removeprefix("FILE:"))
    domain = cache.principal.realm["data"].decode()
    name = Principal(cache.principal.components[0]["data"].decode(), type=constants.PrincipalNameType.NT_PRINCIPAL.value)
    credential = cache.getCredential(f"HTTP/{place.hostname}@{domain}")
    found = credential.toTGS()
    tgs, cipher, session = found["KDC_REP"], found["cipher"], found["sessionKey"]
    ticket = Ticket()
    ticket.from_asn1(decoder.decode(tgs, asn1Spec=TGS_REP())[0]["ticket"])
    request = AP_REQ()
    request["pvno"] = 5
    request["msg-type"] = int(constants.ApplicationTagNumbers.AP_REQ.value)
    request["ap-options"] = constants.encodeFlags([])
    seq_set(request, "ticket", ticket.to_asn1)
    authenticator = Authenticator()
    authenticator["authenticator-vno"] = 5
    authenticator["crealm"] = domain
    seq_set(authenticator, "cname", name.components_to_asn1)
    now = datetime.datetime.now(datetime.timezone.utc)
    authenticator["cusec"] = now.microsecond
    authenticator["ctime"] = KerberosTime.to_asn1(now)
    # RFC 4121 4.1.1: no channel bindings; flags: replay, sequence, integrity.
    authenticator["cksum"] = noValue
    authenticator["cksum"]["cksumtype"] = 0x8003
    authenticator["cksum"]["checksum"] = struct.pack("<I16sI", 16, b"\0" * 16, 4 | 8 | 32)
    sealed = cipher.encrypt(session, 11, encoder.encode(authenticator), None)
    request["authenticator"] = noValue
    request["authenticator"]["etype"] = cipher.enctype
    request["authenticator"]["cipher"] = sealed
    token = SPNEGO_NegTokenInit()
    token["MechTypes"] = [TypesMech["MS KRB5 - Microsoft Kerberos 5"]]
    token["MechToken"] = encoder.encode(request)
    answer, text = get("Negotiate " + base64.b64encode(token.getData()).decode())
else:
    from impacket import ntlm

    domain, user = os.environ["IWA_USER"].split("\\", 1)
    negotiate = ntlm.getNTLMSSPType1("", "", signingRequired=False, use_ntlmv2=True)
    answer, text = get("NTLM " + base64.b64encode(negotiate.getData()).decode())
    challenge = next(one[5:] for one in answer.headers.get_all("WWW-Authenticate") if one.startswith("NTLM "))
    authenticate, _ = ntlm.getNTLMSSPType3(negotiate, base64.b64decode(challenge), user, os.environ["IWA_PASSWORD"], domain, use_ntlmv2=True)
    answer, text = get("NTLM " + base64.b64encode(authenticate.getData()).decode())
print(json.dumps({"status": answer.status, "text": text}))
