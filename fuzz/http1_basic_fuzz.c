// room: lib/http1
// parser: lib/http1/basic.c
#include "lib/http1/http1.h"
#include <stdlib.h>
#include <string.h>
/* A Proxy-Authorization: what is found lies in the memory that was given and holds no control. */
#define CHECK(condition) do { if (!(condition)) __builtin_trap(); } while (0)
#define MEM_BYTES 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static bool is_inside(struct span part, const char *mem)
{
    return part.n == 0 || (part.p >= mem && part.p + part.n <= mem + MEM_BYTES);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct span user = SPAN_NONE, secret = SPAN_NONE;
    char *mem = malloc(MEM_BYTES);
    int r = http1_basic_parse(span_of(data, n), mem, MEM_BYTES, &user, &secret);

    CHECK(r >= 0);
    CHECK(r == 0 || (!user.p && !secret.p));
    CHECK(is_inside(user, mem) && is_inside(secret, mem));
    CHECK(!user.n || !memchr(user.p, ':', user.n));
    for (size_t i = 0; i < secret.n; i++)
        CHECK((unsigned char)secret.p[i] >= ' ' && secret.p[i] != 0x7f);
    free(mem);
    return 0;
}
