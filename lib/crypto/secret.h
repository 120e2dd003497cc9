#pragma once
#include "lib/crypto/digest.h"
/*
 * secret.h - machine-made secrets that people paste: API tokens and proxy credentials.
 *
 * Being random (256 bits) they need no slow hash.
 *
 * Shape      API token: "adit_", 43 characters of base64url, 6 of checksum (the first
 *            six of base64url(SHA-256 of all before)), so that a mistyped or cut token is
 *            told from an unknown one, and scanners find leaked ones.
 *            Proxy secret: "adp_" and 43 characters of base64url.
 * Kept       an API token as SHA-256; a proxy secret as HMAC-SHA-256 under the credential
 *            key; both as lower-case hex.
 * Threads    any.
 */
#define API_TOKEN_LEN (5 + 43 + 6)
#define PROXY_SECRET_LEN (4 + 43)
#define CREDENTIAL_KEY_LEN 32

void api_token_make(char ret_token[API_TOKEN_LEN + 1]);
/* Form and checksum only. */
bool api_token_is_well_formed(struct span token);
void api_token_hash(struct span token, char ret_hex[SHA256_HEX]);

void proxy_secret_make(char ret_secret[PROXY_SECRET_LEN + 1]);
/* `key` has CREDENTIAL_KEY_LEN bytes.  Any secret is hashed, well-formed or not. */
void proxy_secret_hash(struct span key, struct span secret, char ret_hex[SHA256_HEX]);
