"""One page with a SPNEGO token from Heimdal's library: heimdal_get.py LIBGSSAPI HOST PORT PATH.

Asks for mutual authentication and hands the server's final token back to the library, which verifies it.
Prints one line of JSON: {"status": 200, "complete": true}.
"""

import base64
import ctypes
import http.client
import json
import sys

library, host, port, path = sys.argv[1:]
gss = ctypes.CDLL(library)


class Buffer(ctypes.Structure):
    _fields_ = [("length", ctypes.c_size_t), ("value", ctypes.c_void_p)]


class Oid(ctypes.Structure):
    _fields_ = [("length", ctypes.c_uint32), ("elements", ctypes.c_void_p)]


def buffer(data: bytes) -> Buffer:
    return Buffer(len(data), ctypes.cast(ctypes.create_string_buffer(data, len(data)), ctypes.c_void_p))


def oid(contents: bytes) -> Oid:
    return Oid(len(contents), ctypes.cast(ctypes.create_string_buffer(contents, len(contents)), ctypes.c_void_p))


HOSTBASED = oid(bytes.fromhex("2a864886f71201020104"))
SPNEGO = oid(bytes.fromhex("2b0601050502"))
minor, name, context = ctypes.c_uint32(), ctypes.c_void_p(), ctypes.c_void_p()
target = buffer(f"HTTP@{host}".encode())
if gss.gss_import_name(ctypes.byref(minor), ctypes.byref(target), ctypes.byref(HOSTBASED), ctypes.byref(name)):
    sys.exit(f"gss_import_name failed: {minor.value}")

CONTINUE_NEEDED, MUTUAL = 1, 2
connection, token, status, complete = http.client.HTTPConnection(host, int(port)), b"", 0, False
for _ in range(4):
    received, out = buffer(token), Buffer()
    major = gss.gss_init_sec_context(
        ctypes.byref(minor), None, ctypes.byref(context), name, ctypes.byref(SPNEGO), MUTUAL, 0, None,
        ctypes.byref(received) if token else None, None, ctypes.byref(out), None, None,
    )
    if major & ~CONTINUE_NEEDED & 0xFFFFFFFF:
        sys.exit(f"gss_init_sec_context failed: major {major & 0xFFFFFFFF:#x} minor {minor.value} after status {status}")
    complete = not major & CONTINUE_NEEDED
    if not out.length:
        break
    header = "Negotiate " + base64.b64encode(ctypes.string_at(out.value, out.length)).decode()
    connection.request("GET", path, headers={"Authorization": header})
    answer = connection.getresponse()
    answer.read()
    status = answer.status
    offered = [value for value in answer.headers.get_all("WWW-Authenticate", []) if value.startswith("Negotiate ")]
    if not offered:
        break
    token = base64.b64decode(offered[0][10:])
print(json.dumps({"status": status, "complete": complete}))
