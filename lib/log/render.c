#include "lib/log/render_internal.h"
#include "lib/base/buf.h"
#include "lib/base/utf8.h"
#include <stdio.h>
#include <time.h>

#define CUT_TEXT " cut=true\n"
#define CUT_JSON ",\"cut\":true}\n"
#define EVENT_WIDTH 24          /* columns, on a terminal */

/* The text of a second, which many lines share. */
static const char *second_text(int64_t unix_s)
{
    static _Thread_local struct {
        int64_t unix_s;
        char text[40];          /* "": none yet */
    } last;
    time_t when = (time_t)unix_s;
    struct tm tm;

    if (last.text[0] && last.unix_s == unix_s)
        return last.text;
    if (!gmtime_r(&when, &tm))
        tm = (struct tm){ .tm_mday = 1 };
    snprintf(last.text, sizeof(last.text), "%04d-%02d-%02dT%02d:%02d:%02d.", (tm.tm_year + 1900) % 10000,
             tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
    last.unix_s = unix_s;
    return last.text;
}

static void put_time(struct buf *out, const struct log_record *record)
{
    const char ms[] = { (char)('0' + record->ms / 100 % 10), (char)('0' + record->ms / 10 % 10),
                        (char)('0' + record->ms % 10), 'Z' };

    buf_put_str(out, second_text(record->unix_s));
    buf_put(out, ms, sizeof(ms));
}

static void put_number(struct buf *out, const struct log_field *f)
{
    if (f->type == LOG_FIELD_INT)
        buf_put_decimal(out, f->i);
    else if (f->type == LOG_FIELD_UINT && f->u <= INT64_MAX)
        buf_put_decimal(out, (int64_t)f->u);
    else if (f->type == LOG_FIELD_UINT)
        buf_printf(out, "%llu", (unsigned long long)f->u);
    else
        buf_put_str(out, f->u ? "true" : "false");
}

/* Words that grep and eyes can take as they are. */
static bool is_plain(struct span s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] <= ' ' || s.p[i] >= 0x7f || s.p[i] == '"' || s.p[i] == '\\' || s.p[i] == '=')
            return false;
    }
    return s.n > 0;
}

static void put_text_field(struct buf *out, const struct log_field *f)
{
    buf_printf(out, " %s=", f->key);
    if (f->type != LOG_FIELD_SPAN)
        put_number(out, f);
    else if (is_plain(f->s))
        buf_put_span(out, f->s);
    else
        utf8_put_quoted(out, f->s);
}

static void put_json_field(struct buf *out, const struct log_field *f)
{
    buf_put_str(out, ",");
    utf8_put_quoted(out, span_str(f->key));
    buf_put_str(out, ":");
    if (f->type == LOG_FIELD_SPAN)
        utf8_put_quoted(out, f->s);
    else
        put_number(out, f);
}

/* Puts whole fields only, then the end; `cut_end` where not all of them had room. */
static struct span put_fields(struct buf *out, const struct log_record *record,
                              void (*put)(struct buf *out, const struct log_field *f),
                              const char *end, const char *cut_end)
{
    size_t kept = out->len;

    for (size_t i = 0; i < record->count && !buf_error(out); i++) {
        put(out, &record->fields[i]);
        if (!buf_error(out))
            kept = out->len;
    }
    if (buf_error(out))
        end = cut_end;
    out->len = kept;
    out->error = 0;
    out->cap = LOG_LINE_MAX;            /* what was kept back for the end */
    buf_put_str(out, end);
    return buf_span(out);
}

struct span log_render_text(const struct log_record *record, char *mem)
{
    struct buf out;

    buf_init_fixed(&out, mem, LOG_LINE_MAX);
    put_time(&out, record);
    buf_printf(&out, " %-7s %-*.200s", record->level, EVENT_WIDTH, record->event);
    out.cap -= sizeof(CUT_TEXT);
    return put_fields(&out, record, put_text_field, "\n", CUT_TEXT);
}

struct span log_render_json(const struct log_record *record, char *mem)
{
    struct buf out;

    buf_init_fixed(&out, mem, LOG_LINE_MAX);
    buf_put_str(&out, "{\"time\":\"");
    put_time(&out, record);
    buf_put_str(&out, "\",\"level\":\"");
    buf_put_str(&out, record->level);
    buf_put_str(&out, "\",\"program\":");
    utf8_put_quoted(&out, span_str(record->program));
    buf_put_str(&out, ",\"event\":");
    utf8_put_quoted(&out, span_first(span_str(record->event), 200));
    out.cap -= sizeof(CUT_JSON);
    return put_fields(&out, record, put_json_field, "}\n", CUT_JSON);
}
