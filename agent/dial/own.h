#pragma once
#include "lib/base/addr.h"
/*
 * own.h - the addresses of the machine itself, which count as special.
 *
 * Errors     -errno: none are known then, and nothing may be dialled.
 * Threads    one at a time.
 */
#define OWN_ADDRS_MAX 1024
#define OWN_ADDRS_KEEP_MS 5000

struct own_addrs {                  /* zeroed: never read */
    struct addr list[OWN_ADDRS_MAX];
    size_t count;
    uint64_t at_ms;                 /* 0: never read */
    uint64_t sum;                   /* changes with them, in whatever order they come */
};

/* Reads them anew when that was OWN_ADDRS_KEEP_MS ago. */
MUST_CHECK int own_addrs_refresh(struct own_addrs *own, uint64_t now_ms);
/* Reads them anew; true when others than link-local ones came or went. */
bool own_addrs_changed(struct own_addrs *own, uint64_t now_ms);
