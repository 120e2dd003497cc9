#pragma once
#include "lib/base/span.h"
/*
 * right.h - who may do what: one table, and the rule that nobody gives what is wider than
 * his own.
 *
 * Shape      roles are a set of bits.  `any`: whose right covers everybody's objects; `own`:
 *            who may for what is his own.  What a caller may not see, he is told is not there.
 * Threads    constants.
 */
enum { ROLE_BIT_ADMIN = 1, ROLE_BIT_OPERATOR = 2, ROLE_BIT_AUDITOR = 4, ROLE_BIT_USER = 8 };
#define ROLE_BITS_ALL 15

struct right {
    const char *operation;      /* "users.update" */
    unsigned any, own;          /* sets of roles; both 0: public */
};

/* NULL: no such operation. */
const struct right *right_find(struct span operation);
const struct right *right_at(size_t i);                 /* NULL past the last */

/* 0: no such role. */
unsigned role_bit(struct span role);
const char *role_name(unsigned bit);
/* Whether `actor` (a set) is at least as wide as `role`: admin > operator > auditor > user. */
bool role_covers(unsigned actor, unsigned role);
/* Giving a role is giving rights: only an admin gives one that is not plain `user`. */
bool role_may_give(unsigned actor, unsigned role);
