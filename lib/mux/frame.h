#pragma once
#include "lib/base/buf.h"
/*
 * frame.h - the eight bytes before every frame, and the payloads of fixed layout.
 *
 * Pure: bytes in, values out.  What a value means is for the stream or the link.
 *
 * Units      bytes; offsets count a direction's payload from 0.
 * Ownership  spans that are read point into the frame.
 * Errors     readers: 0 or an enum frame_error.  Writers: the buffer's own sticky error.
 * Source     schema/tunnel.md, section "Frame".
 */
#define FRAME_HEADER_LEN 8
#define FRAME_PAYLOAD_MAX 16368     /* one TLS record with the header */
#define FRAME_OFFSET_LEN 8
#define FRAME_DATA_MAX (FRAME_PAYLOAD_MAX - FRAME_OFFSET_LEN)
#define FRAME_DATA_LARGE (4 * FRAME_DATA_MAX)   /* where both HELLOs offer it */
#define FRAME_NOTICE_HEADER_LEN 17
#define FRAME_NOTICE_TOTAL_MAX (1u << 20)
#define FRAME_PING_MAX 72           /* 8 echoed, up to 64 of load figures */
#define FRAME_PROOF_LEN 16

#define FRAME_BIT_STREAM 0x40       /* belongs to a stream, else to the link */
#define FRAME_BIT_CRITICAL 0x80     /* who does not know it may not skip it */

enum frame_type {
    FRAME_HELLO = 0x01,
    FRAME_PING = 0x02,
    FRAME_PONG = 0x03,
    FRAME_GOAWAY = 0x04,
    FRAME_NOTICE = 0x05,
    FRAME_OPEN = 0x40,
    FRAME_OPEN_OK = 0x41,
    FRAME_OPEN_ERR = 0x42,
    FRAME_DATA = 0x43,
    FRAME_CREDIT = 0x44,
    FRAME_FIN = 0x45,
    FRAME_RESET = 0x46,
    FRAME_END = 0x47,
    FRAME_ATTACH = 0x48,
    FRAME_ATTACH_OK = 0x49,
    FRAME_ATTACH_ERR = 0x4a,
    FRAME_DETACH = 0x4b,
    FRAME_DATAGRAM = 0x4c,
};

enum frame_flag {
    FRAME_DATA_AT_LIMIT = 0x01,     /* ends at the limit as the sender knows it */
    FRAME_DATA_URGENT = 0x02,       /* the sender has no memory for more until it is acknowledged */
    FRAME_CREDIT_FIN = 0x01,        /* your FIN was seen too */
    FRAME_CREDIT_RESET = 0x02,      /* your RESET was seen */
    FRAME_RESET_NOW = 0x01,         /* what came before is not delivered any more */
    FRAME_END_RESET = 0x01,         /* settled by a RESET, not by two FINs */
};

enum frame_error {                  /* > 0 */
    FRAME_E_PARTIAL = 1,            /* the bytes end inside the frame */
    FRAME_E_LENGTH,                 /* a length above the maximum, or not that of the type */
    FRAME_E_STREAM,                 /* stream 0 on a stream's frame, or the other way round */
    FRAME_E_VALUE,                  /* a field outside its range */
};

struct frame {
    uint8_t type, flags;
    uint32_t stream;
    struct span payload;
};

struct frame_data {
    uint64_t offset;
    struct span bytes;              /* at least one */
};

struct frame_credit {
    uint64_t limit, received;
};

struct frame_notice {
    uint8_t kind;
    uint64_t revision;
    uint32_t total, offset;         /* of the whole body; where this part starts */
    struct span part;
};

struct frame_attach {               /* ATTACH and ATTACH_OK */
    struct span uid;                /* 16 bytes */
    uint32_t path;
    uint64_t received, limit;
    bool is_fin_seen;
    struct span proof;              /* 16 bytes */
    struct span boot_id, ticket;    /* may be none */
    uint8_t hop_count;
};

const char *frame_name(uint8_t type);           /* "DATA"; "?" for a type that is not known */

/* The frame at the start of `bytes`; it takes FRAME_HEADER_LEN + payload.n of them. */
MUST_CHECK int frame_read(struct span bytes, struct frame *ret_frame);
/* The same on a link whose DATA carries up to so many bytes. */
MUST_CHECK int frame_read_upto(struct span bytes, size_t data_max, struct frame *ret_frame);
MUST_CHECK int frame_data_read(struct span payload, struct frame_data *ret_data);
MUST_CHECK int frame_credit_read(struct span payload, struct frame_credit *ret_credit);
MUST_CHECK int frame_fin_read(struct span payload, uint64_t *ret_final);
MUST_CHECK int frame_end_read(struct span payload);
MUST_CHECK int frame_notice_read(struct span payload, struct frame_notice *ret_notice);
MUST_CHECK int frame_attach_read(struct span payload, struct frame_attach *ret_attach);
/* For who passes it on: unknown tags of every kind are left to the end. */
MUST_CHECK int frame_attach_skim(struct span payload, struct frame_attach *ret_attach);
/* 8 bytes of PING or PONG. */
MUST_CHECK int frame_echo_read(struct span payload, uint64_t *ret_value);

void frame_header_put(struct buf *out, uint8_t type, uint8_t flags, size_t payload_len,
                      uint32_t stream);
void frame_put(struct buf *out, uint8_t type, uint8_t flags, uint32_t stream,
               struct span payload);
void frame_credit_put(struct buf *out, uint32_t stream, struct frame_credit credit,
                      uint8_t flags);
void frame_fin_put(struct buf *out, uint32_t stream, uint64_t final_offset);
void frame_echo_put(struct buf *out, uint8_t type, uint64_t value);
void frame_notice_put(struct buf *out, const struct frame_notice *notice);
void frame_attach_put(struct buf *out, uint8_t type, uint32_t stream,
                      const struct frame_attach *attach);
