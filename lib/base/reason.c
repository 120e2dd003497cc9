#include "lib/base/reason.h"

struct reason_row {
    const char *text, *what, *cure;
    uint16_t http;
    uint8_t socks;
};

static const struct reason_row rows[REASON_COUNT] = {
    [REASON_NONE] = { "ok", "It worked.", "Nothing to do.", 200, 0 },
#define REASON(name, text_, http_, socks_, what_, cure_) \
    [REASON_##name] = { text_, what_, cure_, http_, socks_ },
#include "lib/base/reason.def"
#undef REASON
};

static const struct reason_row *row(enum reason r)
{
    return &rows[(unsigned)r < REASON_COUNT ? r : REASON_INTERNAL];
}

const char *reason_text(enum reason r)
{
    return row(r)->text;
}

unsigned reason_http_status(enum reason r)
{
    return row(r)->http;
}

uint8_t reason_socks_reply(enum reason r)
{
    return row(r)->socks;
}

const char *reason_what(enum reason r)
{
    return row(r)->what;
}

const char *reason_cure(enum reason r)
{
    return row(r)->cure;
}

enum reason reason_find(struct span text)
{
    for (enum reason r = REASON_NONE; r < REASON_COUNT; r++) {
        if (span_eq(text, span_str(rows[r].text)))
            return r;
    }
    return REASON_COUNT;
}
