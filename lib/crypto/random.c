#include "lib/crypto/random.h"
#include <errno.h>
#include <string.h>
#include <sys/random.h>

/* A connection wants five small draws: one system call for many of them.  What was given out
 * does not stay in the pool.  Programs that fork exec at once, so no two share one. */
#define POOL_BYTES 512
#define SMALL_BYTES 64

static _Thread_local struct {
    unsigned char bytes[POOL_BYTES];
    size_t left;
} pool;

static void draw(unsigned char *at, size_t n)
{

    while (n > 0) {
        ssize_t got = getrandom(at, n, 0);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            abort();
        at += got;
        n -= (size_t)got;
    }
}

void random_bytes(void *dst, size_t n)
{
    unsigned char *from;

    if (n > SMALL_BYTES) {
        draw(dst, n);
        return;
    }
    if (pool.left < n) {
        draw(pool.bytes, POOL_BYTES);
        pool.left = POOL_BYTES;
    }
    pool.left -= n;
    from = pool.bytes + pool.left;
    memcpy(dst, from, n);
    explicit_bzero(from, n);
}

uint64_t random_u64(void)
{
    uint64_t v;

    random_bytes(&v, sizeof(v));
    return v;
}

struct ulid random_ulid(uint64_t unix_ms)
{
    unsigned char bytes[10];

    random_bytes(bytes, sizeof(bytes));
    return ulid_make(unix_ms, bytes);
}
