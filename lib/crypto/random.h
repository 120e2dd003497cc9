#pragma once
#include "lib/base/ulid.h"
/*
 * random.h - random bytes for keys, secrets, nonces and ids.
 *
 * A process that cannot get random bytes must not go on: these functions abort then, so
 * no caller can forget to check.
 *
 * Source     the kernel's generator by getrandom(2).
 * Threads    any.
 */
void random_bytes(void *dst, size_t n);
uint64_t random_u64(void);
/* A new id; the caller brings the time. */
struct ulid random_ulid(uint64_t unix_ms);
