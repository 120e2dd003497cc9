#pragma once
#include "lib/base/span.h"
/*
 * password.h - slow hashes of chosen passwords.
 *
 * Shape      PHC strings: $argon2id$v=19$m=...,t=...,p=...$salt$hash.
 * Cost       as the parameters say (52 ms at 19 MiB and 2 passes): never on a loop.
 * Limits     passwords of 1 to 1024 bytes; verifying refuses more than 1 GiB or 16 passes,
 *            so that a planted string cannot take the machine.
 * Imported   bcrypt ($2a$, $2b$, $2y$; cost 4 to 14) is verified too, never made: passwords of other
 *            systems, until their users log in.  It sees 72 bytes of a password.
 * Source     RFC 9106; crypt(5).
 * Threads    any.
 */
#define PASSWORD_PHC_MAX 160
#define PASSWORD_MAX 1024

struct password_cost {
    uint32_t memory_kib;
    uint32_t passes;
    uint32_t lanes;
};
#define PASSWORD_COST_DEFAULT ((struct password_cost){ .memory_kib = 19456, .passes = 2, .lanes = 1 })

/* -EINVAL: length or cost out of range; -ENOMEM. */
MUST_CHECK int password_hash(struct span password, const struct password_cost *cost,
                             char ret_phc[PASSWORD_PHC_MAX]);
/* False too when the string is malformed or costs more than the limits. */
bool password_verify(struct span password, const char *phc);
/* A whole bcrypt string within those costs. */
bool password_is_bcrypt(struct span text);
/* Whether the string was made with less than `cost`: hash anew after the next log-in. */
bool password_is_weaker(const char *phc, const struct password_cost *cost);
