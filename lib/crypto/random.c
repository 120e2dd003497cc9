#include "lib/crypto/random.h"
#include <errno.h>
#include <sys/random.h>

void random_bytes(void *dst, size_t n)
{
    unsigned char *at = dst;

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
