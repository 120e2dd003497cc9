#pragma once
#include "lib/base/span.h"
/*
 * hash.h - keyed hashing for tables whose keys strangers choose.
 *
 * Source     SipHash-1-3 (Aumasson, Bernstein 2012): the rounds that are enough where the
 *            hash itself is never shown.
 * Threads    hash_seed() once at start, before any other thread; then read only.
 */
void hash_seed(const unsigned char key[16]);
uint64_t hash_bytes(struct span s);
uint64_t hash_u64(uint64_t v);
