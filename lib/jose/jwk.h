#pragma once
#include "lib/base/buf.h"
/*
 * jwk.h - the public keys of a JWK set, for checking signatures and for nothing else.
 *
 * Shape      a key has one type and with it one algorithm: RSA of 2048 to 8192 bits is RS256, EC on
 *            P-256 is ES256, OKP on Ed25519 is EdDSA.  Keys of other types, for encryption, for
 *            another algorithm, or that are no point of their curve are left out.
 * Limits     JWKS_KEYS_MAX members and JWKS_TEXT_MAX bytes; a larger set is refused whole.
 * Ownership  the caller owns the set.
 * Threads    a set never changes: any number of threads may use it.
 * Errors     -EINVAL: not a JWK set; -EMSGSIZE: too large; -ENOMEM.
 * Source     RFC 7517, RFC 7518 sections 3 and 6, RFC 8037.
 */
#define JWKS_KEYS_MAX 64
#define JWKS_TEXT_MAX ((size_t)256 << 10)
#define JWK_ID_MAX 255

enum jose_alg { JOSE_RS256, JOSE_ES256, JOSE_EDDSA, JOSE_ALG_COUNT };
#define JOSE_ALG_BIT(alg_) (1u << (alg_))
#define JOSE_ALGS_ALL ((1u << JOSE_ALG_COUNT) - 1)

/* As it stands in headers and keys, case and all; false: none of ours (so: none, HS256 …). */
bool jose_alg_parse(struct span text, enum jose_alg *ret_alg);
const char *jose_alg_name(enum jose_alg alg);

struct jwks;
MUST_CHECK int jwks_parse(struct span json, struct jwks **ret_keys);
void jwks_free(struct jwks *keys);
DEFINE_FREEP(jwks, jwks_free)
size_t jwks_count(const struct jwks *keys);             /* keys that can be used */

/* Whether one of the keys of that id and algorithm signed it.  `kid` NONE: the one key of that
 * algorithm, when there is one only. */
enum { JWKS_E_NO_KEY = 1, JWKS_E_SIGNATURE };
MUST_CHECK int jwks_verify(const struct jwks *keys, enum jose_alg alg, struct span kid,
                           struct span signed_text, struct span signature);
