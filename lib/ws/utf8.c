#include "lib/ws/ws.h"
#include <string.h>

/*
 * The state is what the next byte may be: how many more bytes the character wants (low 2
 * bits), and the range of the next one (two bytes above).  0: between characters.
 */
#define WANTS(count, low, high) ((count) | (unsigned)(low) << 8 | (unsigned)(high) << 16)

static unsigned first_byte(unsigned char c)
{
    static const struct { unsigned char low, high; unsigned next; } rows[] = {
        { 0xc2, 0xdf, WANTS(1, 0x80, 0xbf) },
        { 0xe0, 0xe0, WANTS(2, 0xa0, 0xbf) },   /* not overlong */
        { 0xe1, 0xec, WANTS(2, 0x80, 0xbf) },
        { 0xed, 0xed, WANTS(2, 0x80, 0x9f) },   /* no surrogates */
        { 0xee, 0xef, WANTS(2, 0x80, 0xbf) },
        { 0xf0, 0xf0, WANTS(3, 0x90, 0xbf) },   /* not overlong */
        { 0xf1, 0xf3, WANTS(3, 0x80, 0xbf) },
        { 0xf4, 0xf4, WANTS(3, 0x80, 0x8f) },   /* up to U+10FFFF */
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (c >= rows[i].low && c <= rows[i].high)
            return rows[i].next;
    }
    return 0;
}

static bool feed_byte(unsigned *state, unsigned char c)
{
    unsigned count = *state & 3;

    if (count == 0) {
        *state = c < 0x80 ? 0 : first_byte(c);
        return c < 0x80 || *state;
    }
    if (c < (*state >> 8 & 0xff) || c > *state >> 16)
        return false;
    *state = count > 1 ? WANTS(count - 1, 0x80, 0xbf) : 0;
    return true;
}

/* How many bytes of plain ASCII come first, eight at a time. */
static size_t ascii_run(struct span s)
{
    size_t n = 0;

    for (uint64_t word; s.n - n >= sizeof(word); n += sizeof(word)) {
        memcpy(&word, s.p + n, sizeof(word));
        if (word & 0x8080808080808080u)
            break;
    }
    return n;
}

bool ws_utf8_feed(unsigned *state, struct span bytes)
{
    while (bytes.n) {
        if (*state == 0)
            bytes = span_skip(bytes, ascii_run(bytes));
        if (bytes.n && !feed_byte(state, (unsigned char)bytes.p[0]))
            return false;
        bytes = span_skip(bytes, 1);
    }
    return true;
}
