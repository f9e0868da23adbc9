"""Verifies a token (standard input) with PyJWT and the keys of a JWKS; prints its claims.

verify_jwt.py JWKS-URL ALGORITHM ISSUER AUDIENCE
"""
import json
import sys

import jwt

url, algorithm, issuer, audience = sys.argv[1:]
token = sys.stdin.read().strip()
key = jwt.PyJWKClient(url).get_signing_key_from_jwt(token).key
needed = {"require": ["iss", "aud", "sub", "iat", "nbf", "exp", "jti"]}


def verify(token, **changed):
    wanted = {"algorithms": [algorithm], "issuer": issuer, "audience": audience, **changed}
    return jwt.decode(token, key, options=needed, leeway=2, **wanted)


claims = verify(token)


def refused(why, token, **changed):
    try:
        verify(token, **changed)
    except jwt.InvalidTokenError:
        return
    sys.exit(f"taken although {why}")


header, payload, signature = token.split(".")
refused("it is for another audience", token, audience="https://other.example.test")
refused("it is of another issuer", token, issuer="https://other.example.test")
refused("it is signed in another way", token, algorithms=["HS256", "RS256"])
other = jwt.encode({**claims, "sub": "S-1-5-32-544"}, "secret" * 8, algorithm="HS256").split(".")[1]
refused("its claims were changed", f"{header}.{other}.{signature}")
for place in range(0, len(signature) - 2, 7):
    letter = "A" if signature[place] != "A" else "B"
    refused("its signature was changed", f"{header}.{payload}.{signature[:place]}{letter}{signature[place + 1:]}")
print(json.dumps(claims))
