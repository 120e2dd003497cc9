#include "lib/mux/tags.h"
#include "lib/base/reason.h"
#include <errno.h>

static const struct tag_rule *rule_find(const struct tag_rule *rules, size_t count, uint8_t tag)
{
    for (size_t i = 0; i < count; i++) {
        if (rules[i].tag == tag)
            return &rules[i];
    }
    return NULL;
}

static int rule_apply(const struct tag_rule *rule, struct span value, bool is_again)
{
    if (is_again && !rule->may_repeat)
        return TAG_E_TWICE;
    if (value.n < rule->min || value.n > rule->max)
        return TAG_E_LENGTH;
    return rule->take(rule->into, value) ? 0 : TAG_E_VALUE;
}

static int each_tag(struct span bytes, const struct tag_rule *rules, size_t count, bool may_skip)
{
    bool seen[256] = { false };
    struct reader r;
    int e = 0;

    reader_init(&r, bytes);
    while (r.n && !e) {
        uint8_t tag = read_u8(&r);
        struct span value = read_span(&r, read_u16(&r));
        const struct tag_rule *rule = rule_find(rules, count, tag);

        if (r.error)
            return TAG_E_CUT;
        if (tag >= TAG_CRITICAL && !rule && !may_skip)
            return TAG_E_CRITICAL;
        if (rule)
            e = rule_apply(rule, value, seen[tag]);
        seen[tag] = true;
    }
    return e;
}

int tags_read(struct span bytes, const struct tag_rule *rules, size_t count)
{
    return each_tag(bytes, rules, count, false);
}

int tags_skim(struct span bytes, const struct tag_rule *rules, size_t count)
{
    return each_tag(bytes, rules, count, true);
}

static uint64_t value_be(struct span value)
{
    struct reader r;
    uint64_t v = 0;

    reader_init(&r, value);
    while (r.n)
        v = v << 8 | read_u8(&r);
    return v;
}

bool tag_take_span(void *into_span, struct span value)
{
    *(struct span *)into_span = value;
    return true;
}

bool tag_take_u8(void *into_u8, struct span value)
{
    *(uint8_t *)into_u8 = (uint8_t)value_be(value);
    return true;
}

bool tag_take_u16(void *into_u16, struct span value)
{
    *(uint16_t *)into_u16 = (uint16_t)value_be(value);
    return true;
}

bool tag_take_u32(void *into_u32, struct span value)
{
    *(uint32_t *)into_u32 = (uint32_t)value_be(value);
    return true;
}

bool tag_take_u64(void *into_u64, struct span value)
{
    *(uint64_t *)into_u64 = value_be(value);
    return true;
}

bool tag_take_bool(void *into_bool, struct span value)
{
    *(bool *)into_bool = value_be(value) == 1;
    return value_be(value) <= 1;
}

bool tag_take_reason(void *into_reason, struct span value)
{
    enum reason r = reason_find(value);

    *(enum reason *)into_reason = r == REASON_COUNT ? REASON_INTERNAL : r;
    return true;
}

static void header_put(struct buf *out, uint8_t tag, size_t len)
{
    if (len > UINT16_MAX && !out->error)
        out->error = -ENOBUFS;
    buf_put_u8(out, tag);
    buf_put_u16(out, (uint16_t)len);
}

void tag_put(struct buf *out, uint8_t tag, struct span value)
{
    header_put(out, tag, value.n);
    buf_put_span(out, value);
}

void tag_put_span(struct buf *out, uint8_t tag, struct span value)
{
    if (value.n)
        tag_put(out, tag, value);
}

void tag_put_u8(struct buf *out, uint8_t tag, uint8_t v)
{
    header_put(out, tag, sizeof(v));
    buf_put_u8(out, v);
}

void tag_put_u16(struct buf *out, uint8_t tag, uint16_t v)
{
    header_put(out, tag, sizeof(v));
    buf_put_u16(out, v);
}

void tag_put_u32(struct buf *out, uint8_t tag, uint32_t v)
{
    header_put(out, tag, sizeof(v));
    buf_put_u32(out, v);
}

void tag_put_u64(struct buf *out, uint8_t tag, uint64_t v)
{
    header_put(out, tag, sizeof(v));
    buf_put_u64(out, v);
}
