#pragma once
#include <stddef.h>
/*
 * lease.h - what a worker takes of the relay's memory, and what it gives back.
 *
 * `base` is its own.  Of what is above that it takes steps while it needs half of what it has, and
 * gives them back when it needs little.  Streams that other workers take over take memory with them:
 * what is missing from the base it asks back as soon as there is some.
 *
 * Units      bytes.     Pure.
 */
struct lease {
    size_t memory, base, step;
};

/* At most one of the two is not 0. */
size_t lease_wants(const struct lease *l, size_t need);
size_t lease_spares(const struct lease *l, size_t need);
