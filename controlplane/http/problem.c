#include "controlplane/http/problem.h"
#include "lib/json/json.h"

#include <stdio.h>

void problem_set(struct problem *p, enum reason reason, const char *format, ...)
{
    va_list args;

    p->reason = reason;
    va_start(args, format);
    vsnprintf(p->detail, sizeof(p->detail), format, args);
    va_end(args);
}

void problem_add(struct problem *p, const char *pointer, const char *message)
{
    struct problem_error *error;

    if (p->reason == REASON_NONE)
        p->reason = REASON_INVALID;
    if (p->error_count == PROBLEM_ERRORS_MAX)
        return;
    error = &p->errors[p->error_count++];
    snprintf(error->pointer, sizeof(error->pointer), "%s", pointer);
    snprintf(error->message, sizeof(error->message), "%s", message);
}

unsigned problem_status(const struct problem *p)
{
    return p->status ? p->status : reason_http_status(p->reason);
}

static void put_errors(const struct problem *p, struct json_writer *w)
{
    json_open_array(w, "errors");
    for (size_t i = 0; i < p->error_count; i++) {
        json_open_object(w, NULL);
        json_put_text(w, "pointer", p->errors[i].pointer);
        json_put_text(w, "message", p->errors[i].message);
        json_close_object(w);
    }
    json_close_array(w);
}

void problem_encode(const struct problem *p, const char *trace_id, struct buf *out)
{
    char type[96];
    struct json_writer w;

    snprintf(type, sizeof(type), "/docs/reasons#%s", reason_text(p->reason));
    json_begin(&w, out);
    json_open_object(&w, NULL);
    json_put_text(&w, "type", type);
    json_put_text(&w, "title", reason_what(p->reason));
    json_put_int(&w, "status", problem_status(p));
    if (p->detail[0])
        json_put_text(&w, "detail", p->detail);
    json_put_text(&w, "reason", reason_text(p->reason));
    json_put_text(&w, "cure", reason_cure(p->reason));
    json_put_text(&w, "trace_id", trace_id);
    if (p->error_count)
        put_errors(p, &w);
    if (p->extra.n) {
        buf_put_u8(out, ',');
        buf_put_span(out, p->extra);
    }
    json_close_object(&w);
}
