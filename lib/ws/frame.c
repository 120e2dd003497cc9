#include "lib/ws/ws.h"
#include <string.h>

#define FIN 0x80
#define MASKED 0x80
#define MASK_BYTES 4
#define LENGTH_16 126
#define LENGTH_64 127

size_t ws_header_write(unsigned char dst[WS_HEADER_MAX], enum ws_opcode opcode, bool fin,
                       uint64_t payload_bytes, const unsigned char *mask)
{
    uint8_t masked = mask ? MASKED : 0;
    struct buf b;

    buf_init_fixed(&b, dst, WS_HEADER_MAX);
    buf_put_u8(&b, (uint8_t)((fin ? FIN : 0) | opcode));
    if (payload_bytes < LENGTH_16) {
        buf_put_u8(&b, (uint8_t)(masked | payload_bytes));
    } else if (payload_bytes <= UINT16_MAX) {
        buf_put_u8(&b, masked | LENGTH_16);
        buf_put_u16(&b, (uint16_t)payload_bytes);
    } else {
        buf_put_u8(&b, masked | LENGTH_64);
        buf_put_u64(&b, payload_bytes);
    }
    if (mask)
        buf_put(&b, mask, MASK_BYTES);
    return b.len;
}

/* A vector of gcc's: at -O2 it leaves a bytewise loop alone.  Each block is read whole before
 * it is written, so that dst may be src. */
typedef uint64_t block __attribute__((vector_size(32)));

static void mask_block(unsigned char *dst, const unsigned char *src, uint64_t mask)
{
    block words;

    memcpy(&words, src, sizeof(words));
    words ^= mask;
    memcpy(dst, &words, sizeof(words));
}

void ws_mask_copy(void *dst, const void *src, size_t n, const unsigned char mask[4],
                  uint64_t offset)
{
    unsigned char turned[sizeof(uint64_t)];     /* the mask from `offset` on, twice */
    const unsigned char *from = src;
    unsigned char *to = dst;
    uint64_t word;

    for (size_t i = 0; i < sizeof(turned); i++)
        turned[i] = mask[(offset + i) % 4];
    memcpy(&word, turned, sizeof(word));

    for (; n >= sizeof(block); n -= sizeof(block), to += sizeof(block), from += sizeof(block))
        mask_block(to, from, word);
    for (size_t i = 0; i < n; i++)
        to[i] = from[i] ^ turned[i % sizeof(turned)];
}

size_t ws_control_write(unsigned char dst[WS_CONTROL_FRAME_MAX], enum ws_opcode opcode,
                        struct span payload, const unsigned char *mask)
{
    size_t n = payload.n < WS_CONTROL_MAX ? payload.n : WS_CONTROL_MAX;
    unsigned char header[WS_HEADER_MAX];
    size_t header_bytes = ws_header_write(header, opcode, true, n, mask);

    memcpy(dst, header, header_bytes);
    if (mask)
        ws_mask_copy(dst + header_bytes, payload.p, n, mask, 0);
    else if (n)
        memcpy(dst + header_bytes, payload.p, n);
    return header_bytes + n;
}

/* The longest beginning of `text` that fits and ends between two characters. */
static struct span cut_text(struct span text, size_t max)
{
    size_t n = text.n < max ? text.n : max;

    while (n > 0 && n < text.n && ((unsigned char)text.p[n] & 0xc0) == 0x80)
        n--;
    return span_first(text, n);
}

size_t ws_close_write(unsigned char dst[WS_CONTROL_FRAME_MAX], uint16_t code, struct span reason,
                      const unsigned char *mask)
{
    unsigned char payload[WS_CONTROL_MAX];
    struct buf b;

    buf_init_fixed(&b, payload, sizeof(payload));
    if (code != WS_CLOSE_NONE) {
        buf_put_u16(&b, code);
        buf_put_span(&b, cut_text(reason, WS_CONTROL_MAX - 2));
    }
    return ws_control_write(dst, WS_CLOSE, buf_span(&b), mask);
}
