#include "lib/base/hash.h"
#include <endian.h>
#include <string.h>

/* Set once at start, before other threads: a process has one seed, so that maps may be shared. */
static uint64_t seed[2];

struct sip {
    uint64_t v0, v1, v2, v3;
};

static inline uint64_t load_le64(const void *p)
{
    uint64_t v;

    memcpy(&v, p, sizeof(v));
    return le64toh(v);
}

static inline uint64_t rotl(uint64_t v, unsigned bits)
{
    return v << bits | v >> (64 - bits);
}

static inline void sip_round(struct sip *s)
{
    s->v0 += s->v1;
    s->v2 += s->v3;
    s->v1 = rotl(s->v1, 13) ^ s->v0;
    s->v3 = rotl(s->v3, 16) ^ s->v2;
    s->v0 = rotl(s->v0, 32);
    s->v2 += s->v1;
    s->v0 += s->v3;
    s->v1 = rotl(s->v1, 17) ^ s->v2;
    s->v3 = rotl(s->v3, 21) ^ s->v0;
    s->v2 = rotl(s->v2, 32);
}

static inline void sip_word(struct sip *s, uint64_t word)
{
    s->v3 ^= word;
    sip_round(s);
    s->v0 ^= word;
}

static inline uint64_t sip_end(struct sip *s)
{
    s->v2 ^= 0xff;
    for (int i = 0; i < 3; i++)
        sip_round(s);
    return s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
}

void hash_seed(const unsigned char key[16])
{
    seed[0] = load_le64(key);
    seed[1] = load_le64(key + 8);
}

uint64_t hash_bytes(struct span s)
{
    struct sip sip = {
        seed[0] ^ 0x736f6d6570736575, seed[1] ^ 0x646f72616e646f6d,
        seed[0] ^ 0x6c7967656e657261, seed[1] ^ 0x7465646279746573,
    };
    const unsigned char *p = (const unsigned char *)s.p;
    uint64_t last = (uint64_t)s.n << 56;
    size_t left = s.n;

    for (; left >= 8; left -= 8, p += 8)
        sip_word(&sip, load_le64(p));
    if (left && s.n >= 8)       /* the last eight bytes have them at their upper end */
        last |= load_le64(p + left - 8) >> (8 * (8 - left));
    else
        for (size_t i = 0; i < left; i++)
            last |= (uint64_t)p[i] << (8 * i);
    sip_word(&sip, last);
    return sip_end(&sip);
}

uint64_t hash_u64(uint64_t v)
{
    uint64_t wire = htole64(v);

    return hash_bytes(span_of(&wire, sizeof(wire)));
}
