"""oidc_client.py ISSUER CA_FILE SECRET ALG: goes to the tests' provider with an independent client (Authlib); run with
the interpreter that has it."""
import json
import sys
import time
import warnings

warnings.simplefilter("ignore")

import requests
from authlib.integrations.requests_client import OAuth2Session
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.jwk import KeySet

issuer, ca, secret, alg = sys.argv[1:]
http = requests.Session()
http.trust_env, http.verify = False, ca
metadata = http.get(issuer + "/.well-known/openid-configuration").json()
client = OAuth2Session("adit", secret, redirect_uri="https://client.example/back", scope="openid profile",
                       code_challenge_method="S256", token_endpoint_auth_method=metadata["token_endpoint_auth_methods_supported"][0])
client.trust_env, client.verify = False, ca
verifier = "v" * 50
url, state = client.create_authorization_url(metadata["authorization_endpoint"], code_verifier=verifier, nonce="a nonce")
back = http.get(url, allow_redirects=False).headers["Location"]
token = client.fetch_token(metadata["token_endpoint"], authorization_response=back, state=state, code_verifier=verifier)
keys = KeySet.import_key_set(http.get(metadata["jwks_uri"]).json())
parsed = jwt.decode(token["id_token"], keys, algorithms=[alg])
claims = CodeIDToken(parsed.claims, parsed.header, {"iss": {"essential": True, "value": issuer}, "aud": {"essential": True, "value": "adit"}},
                     {"nonce": "a nonce", "client_id": "adit", "access_token": token["access_token"]})
claims.validate(now=time.time())
try:
    client.fetch_token(metadata["token_endpoint"], authorization_response=back, state=state, code_verifier=verifier)
    sys.exit("a code counts twice")
except Exception as error:
    if "invalid_grant" not in str(error):
        raise
print(json.dumps({"sub": claims["sub"], "alg": parsed.header["alg"]}))
