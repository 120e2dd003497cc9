#include "lib/base/ulid.h"
#include <string.h>

/* Crockford's alphabet: no I, L, O, U. */
static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/* A whole state has a million of them to check. */
static inline bool is_in_alphabet(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z' && c != 'I' && c != 'L' && c != 'O' && c != 'U');
}

struct ulid ulid_make(uint64_t unix_ms, const unsigned char random[10])
{
    unsigned __int128 bits = unix_ms & 0xffffffffffff;
    struct ulid id = { 0 };

    for (int i = 0; i < 10; i++)
        bits = bits << 8 | random[i];
    for (int i = ULID_LEN - 1; i >= 0; i--, bits >>= 5)
        id.text[i] = alphabet[bits & 31];
    return id;
}

bool ulid_parse(struct span text, struct ulid *ret_id)
{
    struct ulid id = { 0 };

    /* 26 characters carry 130 bits: the first one has only three. */
    if (text.n != ULID_LEN || text.p[0] > '7')
        return false;
    for (size_t i = 0; i < ULID_LEN; i++) {
        if (!is_in_alphabet(text.p[i]))
            return false;
        id.text[i] = text.p[i];
    }
    *ret_id = id;
    return true;
}

uint64_t ulid_unix_ms(const struct ulid *id)
{
    uint64_t ms = 0;

    for (int i = 0; i < 10 && id->text[i]; i++)
        ms = ms << 5 | (uint64_t)(strchr(alphabet, id->text[i]) - alphabet);
    return ms;
}
