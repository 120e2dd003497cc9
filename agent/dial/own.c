#include "agent/dial/own.h"
#include "lib/base/attr.h"
#include "lib/base/hash.h"
#include <errno.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <string.h>

static bool addr_of(const struct sockaddr *sa, struct addr *ret_addr)
{
    if (sa && sa->sa_family == AF_INET) {
        const unsigned char *b =
            (const void *)&((const struct sockaddr_in *)(const void *)sa)->sin_addr;

        *ret_addr = addr_v4(b[0], b[1], b[2], b[3]);
        return true;
    }
    if (sa && sa->sa_family == AF_INET6) {
        memcpy(ret_addr->ip, &((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr, 16);
        return true;
    }
    return false;
}

/* All or none: an address that was left out could be dialled. */
static int copy(struct own_addrs *own, const struct ifaddrs *all)
{
    own->count = 0;
    for (const struct ifaddrs *i = all; i; i = i->ifa_next) {
        struct addr addr;

        if (!addr_of(i->ifa_addr, &addr))
            continue;
        if (own->count == OWN_ADDRS_MAX)
            return -ENOSPC;
        own->list[own->count++] = addr;
    }
    return 0;
}

static bool is_link_local(const struct addr *a)
{
    return a->ip[0] == 0xfe && (a->ip[1] & 0xc0) == 0x80;
}

/* Interfaces of containers come and go with link-local addresses; they are no other network. */
static uint64_t sum_of(const struct own_addrs *own)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < own->count; i++)
        sum += is_link_local(&own->list[i]) ? 0 : hash_bytes(span_of(own->list[i].ip, sizeof(own->list[i].ip)));
    return sum;
}

int own_addrs_refresh(struct own_addrs *own, uint64_t now_ms)
{
    struct ifaddrs *all;
    int r;

    if (own->at_ms && now_ms - own->at_ms < OWN_ADDRS_KEEP_MS)
        return 0;
    if (getifaddrs(&all))
        return -errno;

    r = copy(own, all);
    freeifaddrs(all);
    own->sum = sum_of(own);
    own->at_ms = r ? 0 : now_ms;
    return r;
}

bool own_addrs_changed(struct own_addrs *own, uint64_t now_ms)
{
    uint64_t before = own->sum;

    own->at_ms = 0;
    return own_addrs_refresh(own, now_ms) == 0 && own->sum != before;
}
