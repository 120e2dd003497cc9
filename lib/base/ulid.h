#pragma once
#include "lib/base/span.h"
/*
 * ulid.h - 128-bit sortable ids as 26 characters of Crockford base 32.
 *
 * Source     the ULID specification: 48 bits of Unix milliseconds, 80 random bits.
 * Threads    pure: the caller brings time and randomness.
 */
#define ULID_LEN 26

struct ulid {
    char text[ULID_LEN + 1];
};

struct ulid ulid_make(uint64_t unix_ms, const unsigned char random[10]);
/* Exactly 26 characters of the upper-case alphabet, not past 2^128; false otherwise. */
bool ulid_parse(struct span text, struct ulid *ret_id);
static inline struct span ulid_span(const struct ulid *id)
{
    return (struct span){ id->text, id->text[0] ? ULID_LEN : 0 };
}
uint64_t ulid_unix_ms(const struct ulid *id);
