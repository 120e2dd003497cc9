#include "lib/mux/open.h"
#include "lib/mux/frame.h"
#include "lib/mux/tags.h"
#include <errno.h>
#include <string.h>

#define RANGE_LEN 17            /* 16 bytes of address, prefix length */
#define BOOT_ID_MAX 64
#define RESOLVE_TO_MAX 119
#define REASON_MAX 64

enum why_tag { WHY_TAG_REASON = 0x01, WHY_TAG_TEXT, WHY_TAG_MS };
enum goaway_tag {               /* after those of why */
    GOAWAY_TAG_SCOPE = 0x04, GOAWAY_TAG_ELSEWHERE, GOAWAY_TAG_RETRY_MS,
};

static bool take_bytes16(void *into, struct span value)
{
    memcpy(into, value.p, 16);
    return true;
}

static bool take_kind(void *into, struct span value)
{
    uint8_t kind;

    tag_take_u8(&kind, value);
    *(enum mux_kind *)into = (enum mux_kind)kind;
    return kind >= MUX_KIND_TCP && kind <= MUX_KIND_DIAGNOSE;
}

static bool take_resolve_to(void *into, struct span value)
{
    struct mux_open *open = into;

    if (open->resolve_count == MUX_RESOLVE_MAX)
        return false;
    open->resolve_to[open->resolve_count++] = value;
    return true;
}

static bool take_ranges(void *into, struct span value)
{
    struct mux_open *open = into;

    if (value.n % RANGE_LEN)
        return false;
    for (; value.n; value = span_skip(value, RANGE_LEN)) {
        struct cidr *c = &open->ranges[open->range_count++];

        memcpy(c->base.ip, value.p, sizeof(c->base.ip));
        c->bits = (uint8_t)value.p[RANGE_LEN - 1];
        if (c->bits > 128)
            return false;
    }
    return true;
}

static void put_ranges(struct buf *out, const struct mux_open *open)
{
    unsigned char mem[MUX_RANGES_MAX * RANGE_LEN];
    struct buf b;

    buf_init_fixed(&b, mem, sizeof(mem));
    for (size_t i = 0; i < open->range_count; i++) {
        buf_put(&b, open->ranges[i].base.ip, sizeof(open->ranges[i].base.ip));
        buf_put_u8(&b, open->ranges[i].bits);
    }
    if (buf_error(&b) && !out->error)
        out->error = buf_error(&b);
    tag_put_span(out, OPEN_TAG_RANGES, buf_span(&b));
}

/* A text that its reader would refuse must not leave: the whole frame fails then. */
static void put_text(struct buf *out, uint8_t tag, struct span text, size_t max)
{
    if (text.n > max && !out->error)
        out->error = -ENOBUFS;
    tag_put_span(out, tag, text);
}

static void put_target(struct buf *out, const struct mux_open *open)
{
    tag_put_u8(out, OPEN_TAG_KIND, (uint8_t)open->kind);
    put_text(out, OPEN_TAG_HOST, open->host, OPEN_TEXT_MAX);
    tag_put_u16(out, OPEN_TAG_PORT, open->port);
    if (open->resolve_count > MUX_RESOLVE_MAX && !out->error)
        out->error = -ENOBUFS;
    for (size_t i = 0; i < open->resolve_count && !out->error; i++)
        put_text(out, OPEN_TAG_RESOLVE_TO, open->resolve_to[i], RESOLVE_TO_MAX);
    put_ranges(out, open);
    if (open->allow_special)
        tag_put_u8(out, OPEN_TAG_SPECIAL, 1);
}

static void put_names(struct buf *out, const struct mux_open *open)
{
    put_text(out, OPEN_TAG_TRACE, open->trace, OPEN_TEXT_MAX);
    put_text(out, OPEN_TAG_PRINCIPAL, open->principal, OPEN_TEXT_MAX);
    put_text(out, OPEN_TAG_GRANT, open->grant, OPEN_TEXT_MAX);
    put_text(out, OPEN_TAG_PROFILE, open->profile, OPEN_TEXT_MAX);
    put_text(out, OPEN_TAG_ENTRY, open->entry, OPEN_TEXT_MAX);
    put_text(out, OPEN_TAG_BOOT_ID, open->boot_id, BOOT_ID_MAX);
    put_text(out, OPEN_TAG_TLS_NAME, open->tls_name, OPEN_TEXT_MAX);
}

void open_encode(struct buf *out, const struct mux_open *open, uint64_t first_limit)
{
    tag_put(out, OPEN_TAG_UID, span_of(open->uid, MUX_UID_LEN));
    tag_put(out, OPEN_TAG_SECRET, span_of(open->secret, MUX_SECRET_LEN));
    tag_put_u32(out, OPEN_TAG_PATH, open->path);
    put_target(out, open);
    tag_put_u64(out, OPEN_TAG_LIMIT, first_limit);
    tag_put_u32(out, OPEN_TAG_ANSWER_MS, open->answer_ms);
    tag_put_u32(out, OPEN_TAG_GRACE_MS, open->grace_ms);
    tag_put_u32(out, OPEN_TAG_FEATURES, open->features);
    put_names(out, open);
    if (open->hop_count)
        tag_put_u8(out, OPEN_TAG_HOPS, open->hop_count);
}

#define TAG_HEAD_LEN 3
#define PATH_AT (TAG_HEAD_LEN + MUX_UID_LEN + TAG_HEAD_LEN + MUX_SECRET_LEN + TAG_HEAD_LEN)

void open_set_path(unsigned char *payload, uint32_t path)
{
    for (int i = 0; i < 4; i++)
        payload[PATH_AT + i] = (unsigned char)(path >> (24 - 8 * i));
}

size_t open_set_hops(unsigned char *payload, size_t len, uint8_t before, uint8_t hop_count)
{
    const unsigned char tag[OPEN_HOPS_LEN] = { OPEN_TAG_HOPS, 0, 1, hop_count };

    if (before)
        len -= sizeof(tag);
    if (!hop_count)
        return len;
    memcpy(payload + len, tag, sizeof(tag));
    return len + sizeof(tag);
}

int open_decode(struct span payload, struct mux_open *ret_open, uint64_t *ret_limit)
{
    struct span uid = SPAN_NONE, secret = SPAN_NONE;
    struct mux_open o = { 0 };
    uint64_t limit = 0;
    const struct tag_rule rules[] = {
        { OPEN_TAG_UID, 16, 16, false, tag_take_span, &uid },
        { OPEN_TAG_SECRET, 16, 16, false, tag_take_span, &secret },
        { OPEN_TAG_PATH, 4, 4, false, tag_take_u32, &o.path },
        { OPEN_TAG_KIND, 1, 1, false, take_kind, &o.kind },
        { OPEN_TAG_HOST, 1, OPEN_TEXT_MAX, false, tag_take_span, &o.host },
        { OPEN_TAG_PORT, 2, 2, false, tag_take_u16, &o.port },
        { OPEN_TAG_RESOLVE_TO, 1, RESOLVE_TO_MAX, true, take_resolve_to, &o },
        { OPEN_TAG_RANGES, RANGE_LEN, MUX_RANGES_MAX * RANGE_LEN, false, take_ranges, &o },
        { OPEN_TAG_LIMIT, 8, 8, false, tag_take_u64, &limit },
        { OPEN_TAG_ANSWER_MS, 4, 4, false, tag_take_u32, &o.answer_ms },
        { OPEN_TAG_GRACE_MS, 4, 4, false, tag_take_u32, &o.grace_ms },
        { OPEN_TAG_FEATURES, 4, 4, false, tag_take_u32, &o.features },
        { OPEN_TAG_TRACE, 1, OPEN_TEXT_MAX, false, tag_take_span, &o.trace },
        { OPEN_TAG_PRINCIPAL, 1, OPEN_TEXT_MAX, false, tag_take_span, &o.principal },
        { OPEN_TAG_GRANT, 1, OPEN_TEXT_MAX, false, tag_take_span, &o.grant },
        { OPEN_TAG_PROFILE, 1, OPEN_TEXT_MAX, false, tag_take_span, &o.profile },
        { OPEN_TAG_ENTRY, 1, OPEN_TEXT_MAX, false, tag_take_span, &o.entry },
        { OPEN_TAG_BOOT_ID, 1, BOOT_ID_MAX, false, tag_take_span, &o.boot_id },
        { OPEN_TAG_SPECIAL, 1, 1, false, tag_take_bool, &o.allow_special },
        { OPEN_TAG_HOPS, 1, 1, false, tag_take_u8, &o.hop_count },
        { OPEN_TAG_TLS_NAME, 1, OPEN_TEXT_MAX, false, tag_take_span, &o.tls_name },
    };
    int e = tags_read(payload, rules, ARRAY_LEN(rules));

    if (e)
        return e;
    if (!uid.n || !secret.n || !o.kind || o.path == 0)
        return TAG_E_VALUE;
    if (o.kind != MUX_KIND_PROBE && !o.host.n)
        return TAG_E_VALUE;

    take_bytes16(o.uid, uid);
    take_bytes16(o.secret, secret);
    *ret_open = o;
    *ret_limit = limit;
    return 0;
}

/* An endpoint: kind (u8), then 16 bytes of address and the port, or a path. */
static void put_endpoint(struct buf *out, const struct endpoint *e)
{
    buf_put_u8(out, (uint8_t)e->kind);
    if (e->kind == ENDPOINT_IP) {
        buf_put(out, e->addr.ip, sizeof(e->addr.ip));
        buf_put_u16(out, e->port);
    }
    if (e->kind == ENDPOINT_UNIX)
        buf_put(out, e->path, strnlen(e->path, sizeof(e->path) - 1));
}

static bool read_endpoint(struct reader *r, struct endpoint *ret_endpoint)
{
    struct endpoint e = { .kind = (enum endpoint_kind)read_u8(r) };

    if (e.kind == ENDPOINT_IP) {
        struct span ip = read_span(r, sizeof(e.addr.ip));

        if (ip.n)
            memcpy(e.addr.ip, ip.p, ip.n);
        e.port = read_u16(r);
    } else if (e.kind == ENDPOINT_UNIX) {
        if (r->n == 0 || !span_copy(read_span(r, r->n), e.path, sizeof(e.path)))
            return false;
    } else if (e.kind != ENDPOINT_NONE) {
        return false;
    }
    *ret_endpoint = e;
    return !r->error && r->n == 0;
}

static bool take_endpoint(void *into, struct span value)
{
    struct reader r;

    reader_init(&r, value);
    return read_endpoint(&r, into);
}

/* A try: milliseconds (u32), length of the reason's text (u8), the text, the endpoint. */
static bool take_try(void *into, struct span value)
{
    struct mux_opened *opened = into;
    struct mux_try t;
    struct reader r;
    bool is_right;

    if (opened->try_count == MUX_TRIES_MAX)
        return false;
    reader_init(&r, value);
    t.took_ms = read_u32(&r);
    tag_take_reason(&t.result, read_span(&r, read_u8(&r)));
    is_right = read_endpoint(&r, &t.to);
    if (is_right)
        opened->tries[opened->try_count++] = t;
    return is_right;
}

static void put_try(struct buf *out, const struct mux_try *t)
{
    unsigned char mem[8 + REASON_MAX + sizeof(struct endpoint)];
    struct span reason = span_str(reason_text(t->result));
    struct buf b;

    buf_init_fixed(&b, mem, sizeof(mem));
    buf_put_u32(&b, t->took_ms);
    buf_put_u8(&b, (uint8_t)reason.n);
    buf_put_span(&b, reason);
    put_endpoint(&b, &t->to);
    if (buf_error(&b) && !out->error)
        out->error = buf_error(&b);
    tag_put(out, OPENED_TAG_TRY, buf_span(&b));
}

static void put_tries(struct buf *out, const struct mux_opened *o)
{
    for (size_t i = 0; i < o->try_count && i < MUX_TRIES_MAX; i++)
        put_try(out, &o->tries[i]);
}

static void put_used(struct buf *out, const struct endpoint *used)
{
    unsigned char mem[1 + sizeof(struct endpoint)];
    struct buf b;

    if (used->kind == ENDPOINT_NONE)
        return;
    buf_init_fixed(&b, mem, sizeof(mem));
    put_endpoint(&b, used);
    tag_put(out, OPENED_TAG_USED, buf_span(&b));
}

void opened_encode(struct buf *out, const struct mux_opened *opened, uint64_t first_limit)
{
    put_text(out, OPENED_TAG_BOOT_ID, opened->boot_id, BOOT_ID_MAX);
    tag_put_u64(out, OPENED_TAG_LIMIT, first_limit);
    tag_put_u32(out, OPENED_TAG_FEATURES, opened->features);
    put_used(out, &opened->used);
    put_text(out, OPENED_TAG_RESOLVED_BY, opened->resolved_by, OPEN_TEXT_MAX);
    put_tries(out, opened);
}

/* OPEN_OK and OPEN_ERR share their tags: a field of the other one is read and not used. */
static int answer_decode(struct span payload, struct mux_opened *o, struct why *w,
                         uint64_t *limit)
{
    const struct tag_rule rules[] = {
        { OPENED_TAG_REASON, 1, REASON_MAX, false, tag_take_reason, &w->reason },
        { OPENED_TAG_TEXT, 1, OPEN_TEXT_MAX, false, tag_take_span, &w->text },
        { OPENED_TAG_BOOT_ID, 1, BOOT_ID_MAX, false, tag_take_span, &o->boot_id },
        { OPENED_TAG_LIMIT, 8, 8, false, tag_take_u64, limit },
        { OPENED_TAG_FEATURES, 4, 4, false, tag_take_u32, &o->features },
        { OPENED_TAG_USED, 1, 1 + ADDR_UNIX_MAX, false, take_endpoint, &o->used },
        { OPENED_TAG_RESOLVED_BY, 1, OPEN_TEXT_MAX, false, tag_take_span, &o->resolved_by },
        { OPENED_TAG_TRY, 6, 6 + REASON_MAX + ADDR_UNIX_MAX, true, take_try, o },
    };

    return tags_read(payload, rules, ARRAY_LEN(rules));
}

int opened_decode(struct span payload, struct mux_opened *ret_opened, uint64_t *ret_limit)
{
    struct mux_opened o = { 0 };
    struct why unused = { 0 };
    uint64_t limit = 0;
    int e = answer_decode(payload, &o, &unused, &limit);

    if (e)
        return e;
    *ret_opened = o;
    *ret_limit = limit;
    return 0;
}

void refused_encode(struct buf *out, const struct why *why, const struct mux_opened *tries)
{
    tag_put_span(out, OPENED_TAG_REASON, span_str(reason_text(why->reason)));
    tag_put_span(out, OPENED_TAG_TEXT, span_first(why->text, OPEN_TEXT_MAX));
    if (!tries)
        return;
    put_text(out, OPENED_TAG_BOOT_ID, tries->boot_id, BOOT_ID_MAX);
    put_text(out, OPENED_TAG_RESOLVED_BY, tries->resolved_by, OPEN_TEXT_MAX);
    put_tries(out, tries);
}

/* A refusal without a reason, or with "ok", is not one. */
static enum reason reason_or_internal(enum reason r)
{
    return r == REASON_NONE ? REASON_INTERNAL : r;
}

int refused_decode(struct span payload, struct why *ret_why, struct mux_opened *ret_tries)
{
    struct mux_opened o = { 0 };
    struct why w = { 0 };
    uint64_t unused = 0;
    int e = answer_decode(payload, &o, &w, &unused);

    if (e)
        return e;
    w.reason = reason_or_internal(w.reason);
    *ret_why = w;
    *ret_tries = o;
    return 0;
}

void why_encode(struct buf *out, const struct why *why)
{
    tag_put_span(out, WHY_TAG_REASON, span_str(reason_text(why->reason)));
    tag_put_span(out, WHY_TAG_TEXT, span_first(why->text, OPEN_TEXT_MAX));
    if (why->ms)
        tag_put_u32(out, WHY_TAG_MS, why->ms);
}

int why_decode(struct span payload, struct why *ret_why)
{
    struct why w = { 0 };
    const struct tag_rule rules[] = {
        { WHY_TAG_REASON, 1, REASON_MAX, false, tag_take_reason, &w.reason },
        { WHY_TAG_TEXT, 1, OPEN_TEXT_MAX, false, tag_take_span, &w.text },
        { WHY_TAG_MS, 4, 4, false, tag_take_u32, &w.ms },
    };
    int e = tags_read(payload, rules, ARRAY_LEN(rules));

    if (e)
        return e;
    w.reason = reason_or_internal(w.reason);
    *ret_why = w;
    return 0;
}

/* --- GOAWAY --------------------------------------------------------------------------- */
/* A scope of a later release is at least this link. */
static bool take_scope(void *into_scope, struct span value)
{
    uint8_t scope;

    tag_take_u8(&scope, value);
    *(enum mux_scope *)into_scope = scope == MUX_SCOPE_SESSION ? MUX_SCOPE_SESSION : MUX_SCOPE_LINK;
    return true;
}

static bool take_elsewhere(void *into, struct span value)
{
    struct mux_goaway *goaway = into;

    if (goaway->elsewhere_count == MUX_ELSEWHERE_MAX)
        return false;
    goaway->elsewhere[goaway->elsewhere_count++] = value;
    return true;
}

void goaway_encode(struct buf *out, const struct mux_goaway *goaway)
{
    why_encode(out, &(struct why){ goaway->why, goaway->text, goaway->ms_left });
    if (goaway->scope != MUX_SCOPE_LINK)
        tag_put_u8(out, GOAWAY_TAG_SCOPE, (uint8_t)goaway->scope);
    for (size_t i = 0; i < goaway->elsewhere_count; i++)
        put_text(out, GOAWAY_TAG_ELSEWHERE, goaway->elsewhere[i], OPEN_TEXT_MAX);
    if (goaway->retry_ms)
        tag_put_u32(out, GOAWAY_TAG_RETRY_MS, goaway->retry_ms);
}

int goaway_decode(struct span payload, struct mux_goaway *ret_goaway)
{
    struct mux_goaway g = { 0 };
    const struct tag_rule rules[] = {
        { WHY_TAG_REASON, 1, REASON_MAX, false, tag_take_reason, &g.why },
        { WHY_TAG_TEXT, 1, OPEN_TEXT_MAX, false, tag_take_span, &g.text },
        { WHY_TAG_MS, 4, 4, false, tag_take_u32, &g.ms_left },
        { GOAWAY_TAG_SCOPE, 1, 1, false, take_scope, &g.scope },
        { GOAWAY_TAG_ELSEWHERE, 1, OPEN_TEXT_MAX, true, take_elsewhere, &g },
        { GOAWAY_TAG_RETRY_MS, 4, 4, false, tag_take_u32, &g.retry_ms },
    };
    int e = tags_read(payload, rules, ARRAY_LEN(rules));

    if (e)
        return e;
    g.why = reason_or_internal(g.why);
    *ret_goaway = g;
    return 0;
}

/* --- RESET ---------------------------------------------------------------------------- */
void reset_encode(struct buf *out, uint64_t final_offset, const struct why *why)
{
    buf_put_u64(out, final_offset);
    why_encode(out, why);
}

int reset_decode(struct span payload, uint64_t *ret_final, struct why *ret_why)
{
    uint64_t final_offset;
    int e = frame_fin_read(span_first(payload, FRAME_OFFSET_LEN), &final_offset);

    if (!e && why_decode(span_skip(payload, FRAME_OFFSET_LEN), ret_why))
        e = FRAME_E_VALUE;
    if (!e)
        *ret_final = final_offset;
    return e;
}
