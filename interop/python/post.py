"""One POST of requests: post.py ntlm|kerberos URL LENGTH. Prints the status. Name and password come from IWA_USER and IWA_PASSWORD."""
import os
import sys

import requests

way, url, length = sys.argv[1:]
if way == "ntlm":
    from requests_ntlm import HttpNtlmAuth

    auth = HttpNtlmAuth(os.environ["IWA_USER"], os.environ["IWA_PASSWORD"], send_cbt=False)
else:
    from requests_kerberos import HTTPKerberosAuth

    auth = HTTPKerberosAuth()
print(requests.post(url, data=b"x" * int(length), auth=auth, timeout=50).status_code)
